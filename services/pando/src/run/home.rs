//! `/`: a page with links and the state of the cluster.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use pando_catalog::{CatalogView, Role, ShardStage};

use crate::frontend::Frontend;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;margin:.5rem 0 1.5rem}th,td{text-align:left;padding:.2rem .9rem .2rem 0;\
border-bottom:1px solid #8884}code{font-size:.95em}";

const LINKS: [(&str, &str); 6] = [
    ("/api/v1/status/buildinfo", "build"),
    ("/api/v1/status/config", "configuration"),
    ("/api/v1/status/tsdb", "cardinality"),
    ("/api/v1/targets", "targets"),
    ("/api/v1/labels", "labels"),
    ("/metrics", "metrics"),
];

/// Nodes and shards that are shown, of each.
const ROWS_MAX: usize = 500;

pub(super) async fn home(State(frontend): State<Arc<Frontend>>) -> Html<String> {
    let view = frontend.glance().await;
    Html(page(&frontend.status().pando_version, view.as_ref()))
}

fn page(version: &str, view: Option<&CatalogView>) -> String {
    let mut out = String::from(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Pando</title><style>",
    );
    out.push_str(STYLE);
    let _ = write!(out, "</style><h1>Pando</h1><p>Version {}. Links: ", escape(version));
    for (at, (path, name)) in LINKS.iter().enumerate() {
        let _ = write!(out, "{}<a href=\"{path}\">{name}</a>", if at > 0 { ", " } else { "" });
    }
    out.push_str(".</p>");
    match view {
        Some(view) => cluster(&mut out, view),
        None => out.push_str("<p>The catalog of the cluster is not known yet.</p>"),
    }
    out.push_str("</html>\n");
    out
}

fn cluster(out: &mut String, view: &CatalogView) {
    let routing = &view.routing;
    let open = routing.shards().values().filter(|s| s.stage == ShardStage::Open).count();
    let cluster = routing.cluster().map_or("not founded".to_string(), |id| id.to_string());
    let _ = write!(
        out,
        "<h2>Cluster</h2><table><tr><th>Cluster<td><code>{cluster}</code>\
         <tr><th>Catalog version<td>{}<tr><th>Nodes<td>{}<tr><th>Shards<td>{open} open of {}\
         <tr><th>Blocks<td>{}<tr><th>Tenants<td>{}</table>",
        view.version,
        routing.nodes().len(),
        routing.shards().len(),
        view.blocks.len(),
        routing.tenants().len(),
    );
    out.push_str("<h2>Nodes</h2><table><tr><th>Node<th>Roles<th>gRPC<th>HTTP<th>Zone");
    for node in routing.nodes().values().take(ROWS_MAX) {
        let roles: Vec<&str> = node.roles.iter().map(|role| role_name(*role)).collect();
        let _ = write!(
            out,
            "<tr><td><code>{}</code><td>{}<td>{}<td>{}<td>{}",
            node.id,
            roles.join(", "),
            escape(&node.grpc_address),
            escape(&node.http_address),
            escape(&node.zone),
        );
    }
    out.push_str("</table><h2>Shards</h2><table><tr><th>Shard<th>Stage<th>Members<th>Next cut");
    for shard in routing.shards().values().take(ROWS_MAX) {
        let members: Vec<String> = shard.members.iter().map(ToString::to_string).collect();
        let stage = match shard.stage {
            ShardStage::Open => "open",
            ShardStage::Sealed => "sealed",
            ShardStage::Closed => "closed",
        };
        let cut = view.blocks.next_cut(shard.id).map_or(String::new(), |cut| cut.to_string());
        let _ = write!(
            out,
            "<tr><td>{}<td>{stage}<td><code>{}</code><td>{cut}",
            shard.id,
            members.join(" ")
        );
    }
    out.push_str("</table>");
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Agent => "agent",
        Role::Receiver => "receiver",
        Role::Ingester => "ingester",
        Role::StoreGateway => "store-gateway",
        Role::QueryFrontend => "query-frontend",
        Role::Compactor => "compactor",
        Role::Controller => "controller",
    }
}

/// Text for HTML: names of nodes and zones are whatever their owner wrote.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testdata::Cluster;

    #[test]
    fn the_page_shows_the_cluster_and_escapes_what_others_wrote() {
        let mut cluster = Cluster::with_ingesters(2);
        cluster.join_node(9, "<script>\"x\"", &[Role::StoreGateway]);
        cluster.open(&[&[1]]);
        let page = page("1.2.3", Some(&cluster.view()));
        assert!(page.contains("&lt;script&gt;&quot;x&quot;"), "{page}");
        assert!(!page.contains("<script>"));
        assert!(page.contains("<tr><td>1<td>open<td>"));
        assert!(page.contains("Nodes<td>3"));
        assert!(super::page("1", None).contains("not known yet"));
    }
}
