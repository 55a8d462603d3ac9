//! `--load-definitions`: definitions that a start imports.

use std::net::Ipv4Addr;
use std::path::Path;

use leveret::config::{Config, PasswordHashing};
use leveret::server::Server;

use super::{Node, config};

fn loading(dir: &Path, definitions: &Path) -> Config {
    Config {
        load_definitions: Some(definitions.to_owned()),
        ..config(dir, Ipv4Addr::LOCALHOST.into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_imports_definitions_in_place_of_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("x.json");
    std::fs::write(
        &file,
        r#"{"users":[{"name":"u","tags":"","password":"p"}],"vhosts":[{"name":"v"}]}"#,
    )
    .unwrap();
    let server = Server::start(loading(dir.path(), &file)).await.unwrap();
    let node = Node { server, dir };
    assert_eq!(node.ok(&["-s", "list_vhosts"]).await, "v\n");
    assert_eq!(node.ok(&["-s", "list_users"]).await, "u\t[]\n");
    node.ok(&["authenticate_user", "u", "p"]).await;
    node.ok(&["delete_vhost", "v"]).await;

    // Each start imports them again, unless they are unchanged and the operator wants that.
    let skipping = |dir: &Path| Config {
        definitions_skip_if_unchanged: true,
        ..loading(dir, &file)
    };
    let node = node.restart_with(|dir| loading(dir, &file)).await;
    assert_eq!(node.ok(&["-s", "list_vhosts"]).await, "v\n");
    let node = node.restart_with(skipping).await;
    node.ok(&["delete_vhost", "v"]).await;
    let node = node.restart_with(skipping).await;
    assert_eq!(node.ok(&["-s", "list_vhosts"]).await, "");
    std::fs::write(&file, r#"{"vhosts":[{"name":"w"}]}"#).unwrap();
    let node = node.restart_with(skipping).await;
    assert_eq!(node.ok(&["-s", "list_vhosts"]).await, "w\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_loaded_in_the_order_of_names() {
    let dir = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(files.path().join(name), text).unwrap();
    write("1.json", r#"{"vhosts":[{"name":"v"}]}"#);
    write("2.json", r#"{"queues":[{"name":"q","vhost":"v"}]}"#);
    write("0.txt", "no definitions");
    let many = tempfile::tempdir().unwrap();
    for number in 0..=1000 {
        std::fs::write(many.path().join(format!("{number}.json")), "{}").unwrap();
    }
    let error = Server::start(loading(dir.path(), many.path())).await.err();
    let text = error.unwrap().to_string();
    assert!(text.ends_with("more than 1000 files"), "{text}");
    let server = Server::start(loading(dir.path(), files.path()))
        .await
        .unwrap();
    let node = Node { server, dir };
    assert_eq!(
        node.ok(&["-s", "list_queues", "-p", "v", "name"]).await,
        "q\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_fails_with_definitions_that_are_invalid_or_missing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.json");
    let data = dir.path().join("data");
    for text in [
        None,
        Some("{bad"),
        Some(r#"{"queues":[{"name":"q","vhost":"nov"}]}"#),
    ] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let error = Server::start(loading(&data, &file)).await.err().unwrap();
        assert_eq!(error.exit_code(), 78);
        let text = error.to_string();
        assert!(
            text.starts_with("cannot load the definitions in "),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmqs_hashes_of_passwords_can_be_chosen() {
    let node = Node::start().await;
    let node = node
        .restart_with(|dir| Config {
            password_hashing: PasswordHashing::RabbitMq,
            ..config(dir, Ipv4Addr::LOCALHOST.into())
        })
        .await;
    node.ok(&["add_user", "u", "p"]).await;
    node.ok(&["authenticate_user", "u", "p"]).await;
    let exported = node.ok(&["export_definitions", "-"]).await;
    let exported: serde_json::Value = serde_json::from_str(&exported).unwrap();
    let users = exported["users"].as_array().unwrap();
    let hash = |name: &str| {
        users.iter().find(|user| user["name"] == name).unwrap()["password_hash"].clone()
    };
    assert_eq!(hash("guest"), "", "hashed before");
    assert_ne!(hash("u"), "");
}
