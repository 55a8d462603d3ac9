//! Commands for users, secret keys, permissions, limits and virtual hosts.

use super::Node;
use crate::support::exit_code::{EX_DATAERR, EX_NOUSER, EX_SOFTWARE, EX_UNAVAILABLE, EX_USAGE};

#[tokio::test(flavor = "multi_thread")]
async fn users_are_added_changed_listed_and_deleted() {
    let node = Node::start().await;
    assert_eq!(
        node.ok(&["add_user", "bob", "secret"]).await,
        "Adding user \"bob\" ...\nDone. Don't forget to grant the user permissions to some virtual hosts! See \
         'leveret ctl help set_permissions' to learn more.\n"
    );
    assert_eq!(
        node.fails(&["add_user", "bob", "x"]).await,
        (EX_SOFTWARE, "Error:\nUser \"bob\" already exists\n".into())
    );
    assert_eq!(
        node.ok(&["-q", "set_user_tags", "bob", "administrator", "monitoring"])
            .await,
        ""
    );
    assert_eq!(
        node.ok(&["list_users"]).await,
        "Listing users ...\nuser\ttags\nbob\t[administrator, monitoring]\nguest\t[administrator]\n"
    );
    assert_eq!(
        node.ok(&["list_users", "--formatter", "json"]).await,
        "[\n{\"user\":\"bob\",\"tags\":[\"administrator\",\"monitoring\"]}\n,{\"user\":\"guest\",\"tags\":[\"administrator\"]}\n]\n"
    );
    assert_eq!(node.ok(&["list_users", "-s"]).await.lines().count(), 2);
    assert_eq!(
        node.ok(&["authenticate_user", "bob", "secret"]).await,
        "Authenticating user \"bob\" ...\nSuccess\n"
    );
    node.ok(&["change_password", "bob", "new"]).await;
    assert_eq!(
        node.fails(&["authenticate_user", "bob", "secret"]).await,
        (EX_DATAERR, "Error:\nError: failed to authenticate user \"bob\"\nuser 'bob' - invalid credentials\n".into())
    );
    node.ok(&["clear_password", "bob"]).await;
    assert_eq!(
        node.fails(&["authenticate_user", "bob", "new"]).await.0,
        EX_DATAERR
    );
    let unknown = (
        EX_NOUSER,
        "Error:\nUser \"nobody\" does not exist\n".to_owned(),
    );
    assert_eq!(
        node.fails(&["change_password", "nobody", "x"]).await,
        unknown
    );
    assert_eq!(node.fails(&["set_user_tags", "nobody", "x"]).await, unknown);
    assert_eq!(
        node.ok(&["delete_user", "bob"]).await,
        "Deleting user \"bob\" ...\n"
    );
    assert_eq!(node.ok(&["-q", "delete_user", "bob"]).await, "");
    assert_eq!(
        node.ok(&["-q", "list_users"]).await,
        "user\ttags\nguest\t[administrator]\n"
    );
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_keys_are_added_listed_and_deleted_together_with_their_user_or_vhost() {
    let node = Node::start().await;
    for words in [
        &["add_user", "bob", "x"][..],
        &["add_vhost", "v"],
        &["add_secret_key", "-p", "v", "bob", "AKIDbob", "key of bob"],
        &["add_secret_key", "bob", "AKIDbob2", "another"],
        &[
            "add_secret_key",
            "-p",
            "v",
            "guest",
            "AKIDguest",
            "key of guest",
        ],
    ] {
        node.ok(words).await;
    }
    let made_up = node.ok(&["-q", "add_secret_key", "guest"]).await;
    let (id, key) = made_up
        .trim()
        .rsplit_once('\n')
        .unwrap()
        .1
        .split_once('\t')
        .unwrap();
    assert!(id.starts_with("AKID") && key.len() == 32, "{made_up}");
    assert_eq!(
        node.fails(&["add_secret_key", "bob", "AKIDbob", "x"]).await,
        (
            EX_SOFTWARE,
            "Error:\nSecret id \"AKIDbob\" already exists\n".into()
        )
    );
    assert_eq!(
        node.fails(&["add_secret_key", "bob", "AKIDx"]).await.0,
        EX_USAGE
    );
    assert_eq!(
        node.fails(&["add_secret_key", "bob", "", "x"]).await.0,
        EX_DATAERR
    );
    assert_eq!(node.fails(&["add_secret_key", "nobody"]).await.0, EX_NOUSER);
    assert_eq!(
        node.fails(&["add_secret_key", "-p", "none", "bob"]).await.0,
        EX_UNAVAILABLE
    );
    let listed = node.ok(&["list_secret_keys", "bob"]).await;
    assert_eq!(
        listed,
        "Listing secret keys ...\nsecret_id\tuser\tvhost\nAKIDbob2\tbob\t/\nAKIDbob\tbob\tv\n"
    );
    node.ok(&["delete_user", "bob"]).await;
    node.ok(&["delete_vhost", "v"]).await;
    let left = node
        .ok(&["-q", "list_secret_keys", "--no-table-headers"])
        .await;
    assert_eq!(left, format!("{id}\tguest\t/\n"));
    node.ok(&["delete_secret_key", id]).await;
    assert_eq!(
        node.fails(&["delete_secret_key", id]).await,
        (
            EX_DATAERR,
            format!("Error:\nSecret id \"{id}\" does not exist\n")
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_set_listed_and_cleared() {
    let node = Node::start().await;
    node.ok(&["add_vhost", "v"]).await;
    node.ok(&["add_user", "bob", "secret"]).await;
    assert_eq!(
        node.ok(&["set_permissions", "-p", "v", "bob", ".*", "^a", ""])
            .await,
        "Setting permissions for user \"bob\" in vhost \"v\" ...\n"
    );
    assert_eq!(
        node.ok(&["list_permissions", "-p", "v"]).await,
        "Listing permissions for vhost \"v\" ...\nuser\tconfigure\twrite\tread\nbob\t.*\t^a\t\n"
    );
    assert_eq!(
        node.ok(&["list_user_permissions", "bob", "--formatter", "json"])
            .await,
        "[\n{\"vhost\":\"v\",\"configure\":\".*\",\"write\":\"^a\",\"read\":\"\"}\n]\n"
    );
    node.ok(&[
        "set_topic_permissions",
        "-p",
        "v",
        "bob",
        "amq.topic",
        "^w",
        "^r.{username}",
    ])
    .await;
    assert_eq!(
        node.ok(&["-q", "list_topic_permissions", "-p", "v"]).await,
        "user\texchange\twrite\tread\nbob\tamq.topic\t^w\t^r.{username}\n"
    );
    for (args, code, err) in [
        (
            &["set_permissions", "-p", "nope", "bob", "", "", ""][..],
            EX_UNAVAILABLE,
            "Error:\nVirtual host nope does not exist\n",
        ),
        (
            &["set_permissions", "-p", "v", "nobody", "", "", ""],
            EX_NOUSER,
            "Error:\nUser nobody does not exist\n",
        ),
        (
            &["list_permissions", "-p", "nope"],
            EX_DATAERR,
            "Virtual host 'nope' does not exist\n",
        ),
        (
            &["list_user_permissions", "nobody"],
            EX_UNAVAILABLE,
            "Error:\n{:no_such_user, \"nobody\"}\n",
        ),
    ] {
        assert_eq!(node.fails(args).await, (code, err.to_owned()), "{args:?}");
    }
    assert_eq!(
        node.fails(&["set_permissions", "-p", "v", "bob", "*", "", ""])
            .await
            .0,
        EX_UNAVAILABLE
    );
    node.ok(&["clear_topic_permissions", "-p", "v", "bob"])
        .await;
    node.ok(&["clear_permissions", "-p", "v", "bob"]).await;
    assert_eq!(node.ok(&["-q", "list_permissions", "-p", "v"]).await, "");
    assert_eq!(
        node.ok(&["-q", "list_topic_permissions", "-p", "v"]).await,
        ""
    );
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_set_listed_and_cleared() {
    let node = Node::start().await;
    let two = "{\"max-connections\": 2, \"max-channels\": 5}";
    node.ok(&["set_user_limits", "guest", two]).await;
    node.ok(&["set_user_limits", "guest", "{\"max-connections\": 3}"])
        .await;
    assert_eq!(
        node.ok(&["-q", "list_user_limits"]).await,
        "{\"max-channels\":5,\"max-connections\":3}\n"
    );
    node.ok(&["clear_user_limits", "guest", "max-connections"])
        .await;
    assert_eq!(
        node.ok(&["-q", "list_user_limits", "--user", "guest"])
            .await,
        "{\"max-channels\":5}\n"
    );
    node.ok(&["clear_user_limits", "guest", "all"]).await;
    assert_eq!(node.ok(&["-q", "list_user_limits"]).await, "{}\n");
    node.ok(&[
        "set_vhost_limits",
        "{\"max-connections\": 2, \"max-queues\": 5}",
    ])
    .await;
    assert_eq!(
        node.ok(&["list_vhost_limits", "--global"]).await,
        "Listing limits for all vhosts ...\nvhost\tlimits\n/\t{\"max-connections\":2,\"max-queues\":5}\n"
    );
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let shown = node.ok(&["list_vhost_limits", "--formatter", "json"]).await;
    let value = &json(&shown)["value"];
    assert_eq!(value, "{\"max-connections\":2,\"max-queues\":5}");
    node.ok(&["clear_vhost_limits"]).await;
    for words in [
        &["list_vhost_limits"][..],
        &["list_vhost_limits", "--global"],
        &["list_user_limits", "--global"],
    ] {
        let words = [words, &["--formatter", "json"]].concat();
        assert_eq!(node.ok(&words).await, "[]\n", "{words:?}");
    }
    for (args, code, err) in [
        (
            ["set_user_limits", "guest", "{\"max-connections\": \"x\"}"],
            EX_UNAVAILABLE,
            "Error:\nmax-connections should be a number, actually was <<\"x\">>\n",
        ),
        (
            ["set_user_limits", "guest", "{\"nope\": 1}"],
            EX_UNAVAILABLE,
            "Error:\nUnrecognised terms [{<<\"nope\">>,1}] in user-limits\n",
        ),
        (
            ["set_user_limits", "guest", "garbage"],
            EX_UNAVAILABLE,
            "Error:\nCould not parse JSON document: {error,{failed_to_decode_json,<<\"garbage\">>}}\n",
        ),
        (
            ["set_user_limits", "nobody", two],
            EX_UNAVAILABLE,
            "Error:\n{:no_such_user, \"nobody\"}\n",
        ),
        (
            ["clear_vhost_limits", "-p", "nope"],
            EX_UNAVAILABLE,
            "Error:\nParameter does not exist\n",
        ),
    ] {
        assert_eq!(node.fails(&args).await, (code, err.to_owned()), "{args:?}");
    }
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vhosts_are_added_listed_and_deleted() {
    let node = Node::start().await;
    assert_eq!(
        node.ok(&["add_vhost", "v1"]).await,
        "Adding vhost \"v1\" ...\n"
    );
    assert_eq!(
        node.ok(&["add_vhost", "v1"]).await,
        "Adding vhost \"v1\" ...\n",
        "again is no error"
    );
    node.ok(&[
        "add_vhost",
        "v2",
        "--description",
        "d e",
        "--tags",
        "a,b",
        "--default-queue-type",
        "quorum",
    ])
    .await;
    assert_eq!(
        node.ok(&[
            "-q",
            "list_vhosts",
            "name",
            "description",
            "tags",
            "default_queue_type",
            "tracing"
        ])
        .await,
        "name\tdescription\ttags\tdefault_queue_type\ttracing\n/\tDefault virtual host\t[]\tclassic\tfalse\n\
         v1\t\t[]\tclassic\tfalse\nv2\td e\t[a, b]\tquorum\tfalse\n"
    );
    assert_eq!(
        node.ok(&["trace_on", "-p", "v2"]).await,
        "Starting tracing for vhost \"v2\" ...\nTrace enabled for vhost v2\n"
    );
    assert_eq!(
        node.ok(&["-s", "list_vhosts", "name", "tracing"]).await,
        "/\tfalse\nv1\tfalse\nv2\ttrue\n"
    );
    for _ in 0..2 {
        assert_eq!(
            node.ok(&["trace_off", "-p", "v2"]).await,
            "Stopping tracing for vhost \"v2\" ...\nTrace disabled for vhost v2\n"
        );
    }
    assert_eq!(
        node.fails(&["trace_on", "-p", "nope"]).await,
        (EX_DATAERR, "Virtual host 'nope' does not exist\n".into())
    );
    node.ok(&["set_permissions", "-p", "v2", "guest", "", "", ""])
        .await;
    assert_eq!(
        node.ok(&["delete_vhost", "v2"]).await,
        "Deleting vhost \"v2\" ...\n"
    );
    assert_eq!(
        node.fails(&["delete_vhost", "v2"]).await,
        (EX_DATAERR, "Virtual host 'v2' does not exist\n".into())
    );
    node.ok(&["add_vhost", "v2"]).await;
    assert_eq!(
        node.ok(&["-q", "list_permissions", "-p", "v2"]).await,
        "",
        "permissions went with the vhost"
    );
    assert_eq!(
        node.ok(&["list_vhosts"]).await,
        "Listing vhosts ...\nname\n/\nv1\nv2\n"
    );
    node.server.shutdown().await;
}
