# The first stage builds a static binary, the second holds nothing else: no shell, no libc.
# Written for both builders of Docker: no cache mounts, no heredocs.
ARG RUST_VERSION=1.95

FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /src
COPY . .
# A static libc needs the target named: without it the flags would reach procedural macros too.
RUN RUSTFLAGS="-C target-feature=+crt-static" CARGO_PROFILE_RELEASE_STRIP=debuginfo \
    cargo build --release --locked --bin outrigger --target "$(rustc --print host-tuple)" \
    && install -D -m 0755 target/*/release/outrigger /image/outrigger

FROM scratch
LABEL org.opencontainers.image.title="outrigger" \
      org.opencontainers.image.description="A sidecar resilience proxy: cuts slow upstreams loose early, cheaply and visibly" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"
COPY --from=build /image/ /
ENV OUTRIGGER_CONFIG=/etc/outrigger/outrigger.toml
USER 65532:65532
EXPOSE 9902
HEALTHCHECK --interval=5s --timeout=2s --start-period=10s --retries=3 CMD ["/outrigger", "healthcheck"]
ENTRYPOINT ["/outrigger"]
CMD ["run"]
