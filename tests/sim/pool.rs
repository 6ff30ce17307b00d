//! Waiting for a connection: whose turn it is, and what is handed over.

use outrigger::lifecycle::tasks;

use crate::upstream::{Step, Upstream, ms, ok_after};
use crate::world::{World, settle, simulate};

const ONE: &str = "[upstreams.u.bulkhead]\nmax_connections = 1\nqueue_timeout = \"1s\"\n";

/// Sends GETs on connections of their own, in this order, and has their statuses.
async fn statuses(world: &World, paths: &[&str]) -> Vec<u16> {
    let mut callers = Vec::new();
    for path in paths {
        let mut caller = world.caller();
        let path = (*path).to_owned();
        let (sender, status) = tokio::sync::oneshot::channel();
        tasks::spawn_local("caller", async move {
            let _ = sender.send(caller.get(&path).await.status);
        });
        callers.push(status);
        settle().await;
    }
    let mut statuses = Vec::new();
    for status in callers {
        statuses.push(status.await.expect("each is answered"));
    }
    statuses
}

#[test]
fn a_resent_request_gets_a_fresh_connection_though_it_has_to_wait() {
    simulate(1, async {
        // The first connection dies under its second request, while others wait; any kept
        // connection would die under the same request again.
        let script = Upstream::new(|arrived| match (arrived.path(), arrived.nth) {
            ("/twice", 1..) => vec![Step::Sleep(ms(20)), Step::Close],
            _ => ok_after(ms(20)),
        });
        let world = World::new(ONE, &script);
        assert_eq!(statuses(&world, &["/first"]).await, [200]);
        let paths = ["/twice", "/other", "/another"];
        assert_eq!(statuses(&world, &paths).await, [200, 200, 200]);
        let arrived = script.arrived();
        let twice = arrived.iter().filter(|arrived| arrived.path() == "/twice");
        assert_eq!(twice.count(), 2);
        world.end().await;
    });
}

#[test]
fn whoever_is_handed_a_dead_connection_goes_on_waiting() {
    for turns in 0..10 {
        // Every connection is closed right after its response, unannounced.
        let script = Upstream::new(move |_| {
            let mut steps = ok_after(ms(20));
            steps.extend([Step::Yield(turns), Step::Close]);
            steps
        });
        simulate(1, async {
            let world = World::new(ONE, &script);
            let paths = ["/1", "/2", "/3", "/4"];
            assert_eq!(statuses(&world, &paths).await, [200; 4], "{turns}");
            assert_eq!(script.most_open(), 1);
            world.end().await;
        });
    }
}
