import java.io.ByteArrayInputStream;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Java's HttpClient: HTTP/1.1, HTTP/2 over TLS, its attempt to upgrade to h2c, by a proxy, its WebSocket. */
public final class JavaClient {
    static final int MIB = 1 << 20;
    static final byte[] BODY = new byte[MIB];
    static final Duration PATIENCE = Duration.ofSeconds(20);

    interface Body {
        void run() throws Exception;
    }

    static final class Skip extends Exception {
        Skip(String reason) {
            super(reason);
        }
    }

    record Target(String label, String url, String control, String port, String version, String features) {
        void need(String feature) throws Skip {
            if (!features.contains('"' + feature + '"')) {
                throw new Skip(label + " lacks `" + feature + "`");
            }
        }
    }

    /** The value of a string or list in an object of the plan, which has no escapes. */
    static String field(String json, String name) {
        Matcher found = Pattern.compile('"' + name + "\": (\"([^\"]*)\"|\\[[^\\]]*\\])").matcher(json);
        if (!found.find()) {
            throw new IllegalArgumentException("no `" + name + "` in the plan");
        }
        return found.group(2) != null ? found.group(2) : found.group(1);
    }

    static void check(Target target, String name, Body body) {
        String result = "passed";
        String detail = "";
        try {
            body.run();
        } catch (Skip reason) {
            result = "skipped";
            detail = reason.getMessage();
        } catch (Throwable problem) {
            StackTraceElement[] trace = problem.getStackTrace();
            String line = Arrays.stream(trace)
                    .filter(each -> each.getClassName().startsWith("JavaClient"))
                    .findFirst().map(each -> " (line " + each.getLineNumber() + ")").orElse("");
            result = "failed";
            detail = problem + line;
        }
        System.out.printf("{\"target\": \"%s\", \"check\": \"%s\", \"result\": \"%s\", \"detail\": \"%s\"}%n",
                target.label, name, result, detail.replaceAll("[\\\\\"\\p{Cntrl}]", " "));
    }

    static void equal(Object left, Object right) {
        if (!left.equals(right)) {
            throw new AssertionError(left + " is not " + right);
        }
    }

    static String sha256(byte[] bytes) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    }

    static SSLContext trusting(String file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream in = new FileInputStream(file)) {
            store.setCertificateEntry("root", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }

    static HttpRequest.Builder to(Target target, String path) {
        return HttpRequest.newBuilder(URI.create(target.url + path)).timeout(PATIENCE);
    }

    static String ask(Target target, String path) throws Exception {
        try (InputStream in = URI.create(target.control + path).toURL().openStream()) {
            return new String(in.readAllBytes());
        }
    }

    static void awaitState(Target target, String id, String wanted) throws Exception {
        String state = "";
        for (int look = 0; look < 1000; look++) {
            state = ask(target, "/seen?id=" + id);
            if (state.contains(wanted)) {
                return;
            }
            Thread.sleep(10);
        }
        throw new AssertionError("the upstream says " + state + " of the call, and never " + wanted);
    }

    static void semantics(Target target, HttpClient http, HttpClient.Version version) {
        check(target, "get", () -> {
            HttpResponse<String> got = http.send(to(target, "/hello").build(), BodyHandlers.ofString());
            equal(List.of(got.statusCode(), got.body()), List.of(200, "hello"));
            equal(got.version(), version);
            equal(got.headers().firstValue("x-version").orElse(""), target.version);
        });
        check(target, "head", () -> {
            HttpRequest request = to(target, "/hello").method("HEAD", BodyPublishers.noBody()).build();
            HttpResponse<String> got = http.send(request, BodyHandlers.ofString());
            equal(List.of(got.statusCode(), got.body()), List.of(200, ""));
            equal(got.headers().firstValue("content-length").orElse(""), "5");
        });
        check(target, "echo of 1 MiB", () -> {
            HttpRequest request = to(target, "/echo").POST(BodyPublishers.ofByteArray(BODY)).build();
            equal(sha256(http.send(request, BodyHandlers.ofByteArray()).body()), sha256(BODY));
        });
        check(target, "chunked upload", () -> {
            HttpRequest request = to(target, "/hash")
                    .POST(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(BODY))).build();
            String told = http.send(request, BodyHandlers.ofString()).body();
            if (!told.contains(sha256(BODY)) || !told.matches(".*\"declared\": ?null.*")) {
                throw new AssertionError(told);
            }
        });
        check(target, "100-continue", () -> {
            if (target.label.matches("node-(h2c|tls2)")) {
                throw new Skip("over HTTP/2, Node answers 417 to `100-Continue` as Java writes it");
            }
            HttpRequest request = to(target, "/hash").expectContinue(true)
                    .POST(BodyPublishers.ofByteArray(BODY)).build();
            String told = http.send(request, BodyHandlers.ofString()).body();
            if (!told.contains(sha256(BODY))) {
                throw new AssertionError(told);
            }
        });
        check(target, "no content", () -> {
            for (int code : new int[] {204, 304}) {
                HttpResponse<String> got =
                        http.send(to(target, "/status?code=" + code).build(), BodyHandlers.ofString());
                equal(List.of(got.statusCode(), got.body()), List.of(code, ""));
            }
        });
        check(target, "keep-alive", () -> {
            Set<String> connections = new HashSet<>();
            for (int call = 0; call < 20; call++) {
                HttpResponse<String> got = http.send(to(target, "/hello").build(), BodyHandlers.ofString());
                connections.add(got.headers().firstValue("x-connection").orElse(""));
            }
            if (connections.size() > 2) {
                throw new AssertionError(connections + " to the upstream");
            }
        });
        check(target, "100 at once", () -> {
            List<CompletableFuture<HttpResponse<String>>> calls = new ArrayList<>();
            for (int call = 0; call < 100; call++) {
                HttpRequest request = to(target, "/echo").POST(BodyPublishers.ofString("" + call)).build();
                calls.add(http.sendAsync(request, BodyHandlers.ofString()));
            }
            for (int call = 0; call < 100; call++) {
                equal(calls.get(call).get().body(), "" + call);
            }
        });
        check(target, "broken body", () -> {
            target.need("broken");
            for (String query : new String[] {"length=1", ""}) {
                try {
                    http.send(to(target, "/broken?" + query).build(), BodyHandlers.ofString());
                } catch (IOException due) {
                    continue;
                }
                throw new AssertionError("a broken body looked whole");
            }
        });
        check(target, "caller leaves while waiting", () -> {
            String id = UUID.randomUUID().toString();
            HttpRequest request = to(target, "/hang?id=" + id).timeout(Duration.ofMillis(500)).build();
            try {
                http.send(request, BodyHandlers.ofString());
                throw new AssertionError("an answer");
            } catch (java.net.http.HttpTimeoutException due) {
                awaitState(target, id, "aborted");
            }
        });
        check(target, "caller leaves while reading", () -> {
            String id = UUID.randomUUID().toString();
            HttpRequest request = to(target, "/hang?head=1&id=" + id).build();
            try (InputStream in = http.send(request, BodyHandlers.ofInputStream()).body()) {
                equal(new String(in.readNBytes(5)), "first");
            }
            awaitState(target, id, "aborted");
        });
        check(target, "server-sent events", () -> {
            String got = http.send(to(target, "/sse?n=5&every=5").build(), BodyHandlers.ofString()).body();
            equal(got.lines().filter(line -> line.startsWith("data: ")).count(), 5L);
        });
    }

    static void webSocket(Target target, HttpClient http) {
        check(target, "WebSocket", () -> {
            target.need("websocket");
            CompletableFuture<String> text = new CompletableFuture<>();
            CompletableFuture<Integer> closed = new CompletableFuture<>();
            WebSocket socket = http.newWebSocketBuilder().subprotocols("chat.v1", "chat.v2")
                    .buildAsync(URI.create(target.url.replaceFirst("http", "ws") + "/ws"), new WebSocket.Listener() {
                        private final StringBuilder parts = new StringBuilder();

                        @Override
                        public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean last) {
                            parts.append(data);
                            if (last) {
                                text.complete(parts.toString());
                            }
                            socket.request(1);
                            return null;
                        }

                        @Override
                        public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
                            closed.complete(code);
                            return null;
                        }
                    }).get(20, TimeUnit.SECONDS);
            equal(socket.getSubprotocol(), "chat.v2");
            String sent = "the same again ".repeat(50000);
            socket.sendText(sent, true).get(20, TimeUnit.SECONDS);
            equal(text.get(20, TimeUnit.SECONDS), sent);
            socket.sendPing(ByteBuffer.wrap(new byte[] {1})).get(20, TimeUnit.SECONDS);
            socket.sendText("close 4002", true).get(20, TimeUnit.SECONDS);
            equal(closed.get(20, TimeUnit.SECONDS), 4002);
        });
    }

    static ProxySelector proxy(String mode, String target) {
        if (!mode.equals("proxy")) {
            return HttpClient.Builder.NO_PROXY;
        }
        URI address = URI.create(field(target, "proxy"));
        return ProxySelector.of(new InetSocketAddress(address.getHost(), address.getPort()));
    }

    public static void main(String[] arguments) throws Exception {
        String plan = Files.readString(Path.of(arguments[0]));
        String mode = field(plan, "mode");
        new Random(1).nextBytes(BODY);
        // In `h2c` the client asks to upgrade from HTTP/1.1; nobody has to follow, and the proxy does not.
        boolean asks = mode.equals("h2c") || mode.equals("tls2");
        HttpClient.Version version = mode.equals("tls2") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1;
        Matcher targets = Pattern.compile("\\{\"label\"[^}]*\\}").matcher(plan);
        while (targets.find()) {
            String each = targets.group();
            Target target = new Target(field(each, "label"), field(each, "url"), field(each, "control"),
                    field(each, "port"), field(each, "version"), field(each, "features"));
            HttpClient.Builder clients = HttpClient.newBuilder().sslContext(trusting(field(plan, "ca")))
                    .proxy(proxy(mode, each))
                    .version(asks ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1);
            semantics(target, clients.build(), version);
            if (!asks) {
                // Another client: this one takes idle connections to a proxy for tunnels.
                webSocket(target, clients.build());
            }
        }
        System.exit(0);
    }
}
