//! Commands for runtime parameters, and for the metadata of virtual hosts.

use super::Node;
use crate::support::exit_code::{EX_DATAERR, EX_UNAVAILABLE, EX_USAGE};

#[tokio::test(flavor = "multi_thread")]
async fn runtime_parameters_belong_to_a_component() {
    let node = Node::start().await;
    let limits = r#"{"max-queues":3}"#;
    node.ok(&["add_vhost", "v"]).await;
    assert_eq!(
        node.ok(&["set_parameter", "-p", "v", "vhost-limits", "limits", limits])
            .await,
        "Setting runtime parameter \"limits\" for component \"vhost-limits\" to \"{\"max-queues\":3}\" in vhost \"v\" ...\n"
    );
    assert_eq!(
        node.ok(&["list_parameters", "-p", "v"]).await,
        "Listing runtime parameters for vhost \"v\" ...\ncomponent\tname\tvalue\n\
         vhost-limits\tlimits\t{\"max-queues\":3}\n"
    );
    assert_eq!(
        node.ok(&["list_vhost_limits", "-p", "v", "-q"]).await,
        "{\"max-queues\":3}\n"
    );
    for (words, expected) in [
        (
            ["federation", "x", "{}"],
            "Validation failed\n\ncomponent federation not found\n",
        ),
        (
            ["policy", "x", "{}"],
            "policies may not be set using this method",
        ),
        (
            ["vhost-limits", "limits", "{bad"],
            "Could not parse JSON document: {error,{failed_to_decode_json,<<\"{bad\">>}}",
        ),
        (
            ["vhost-limits", "limits", "7"],
            "Validation failed\n\nlimits not a list 7\n",
        ),
        (
            ["vhost-limits", "limits", r#"{"max-queues":"3","x":1}"#],
            "Validation failed\n\nUnrecognised terms [{<<\"x\">>,1}] in limits\n\
             max-queues should be a number, actually was <<\"3\">>\n",
        ),
    ] {
        let refused = node
            .fails(&[&["set_parameter"][..], &words[..]].concat())
            .await;
        assert_eq!(refused, (EX_UNAVAILABLE, format!("Error:\n{expected}\n")));
    }
    let missing = (EX_DATAERR, "Virtual host 'w' does not exist\n".to_owned());
    let words = ["set_parameter", "-p", "w", "vhost-limits", "limits", limits];
    assert_eq!(node.fails(&words).await, missing);
    assert_eq!(node.fails(&["list_parameters", "-p", "w"]).await, missing);

    let clear = ["clear_parameter", "-p", "v", "vhost-limits", "limits"];
    node.ok(&clear).await;
    let missing = (
        EX_UNAVAILABLE,
        "Error:\nParameter does not exist\n".to_owned(),
    );
    assert_eq!(node.fails(&clear).await, missing);
    assert_eq!(
        node.fails(&["clear_parameter", "shovel", "x"]).await,
        missing
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn global_parameters_have_any_value() {
    let node = Node::start().await;
    assert_eq!(
        node.ok(&["set_global_parameter", "x", r#"{"b":1,"a":"é"}"#])
            .await,
        "Setting global runtime parameter \"x\" to \"{\"b\":1,\"a\":\"é\"}\" ...\n"
    );
    let listed = node.ok(&["list_global_parameters"]).await;
    let lines: Vec<_> = listed.lines().collect();
    let [banner, header, id, x] = lines[..] else {
        panic!("{listed}")
    };
    assert_eq!(
        [banner, header, x],
        [
            "Listing global runtime parameters ...",
            "name\tvalue",
            "x\t{\"b\":1,\"a\":\"é\"}"
        ]
    );
    assert!(
        id.starts_with("internal_cluster_id\t\"leveret-cluster-id-"),
        "{id}"
    );
    node.ok(&["clear_global_parameter", "x"]).await;
    assert_eq!(
        node.fails(&["clear_global_parameter", "x"]).await,
        (
            EX_UNAVAILABLE,
            "Error:\nParameter does not exist\n".to_owned()
        )
    );
    assert_eq!(
        node.ok(&["set_cluster_name", "warren"]).await,
        "Setting cluster name to warren ...\n"
    );
    assert_eq!(node.server.broker().unwrap().cluster_name(), "warren");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_a_virtual_host_changes() {
    let node = Node::start().await;
    node.ok(&["add_vhost", "v", "--description", "d"]).await;
    assert_eq!(
        node.ok(&["set_vhost_tags", "v", "x", "y"]).await,
        "Setting tags for virtual host \"v\" to [x, y] ...\n"
    );
    let columns = [
        "-s",
        "list_vhosts",
        "name",
        "description",
        "tags",
        "default_queue_type",
    ];
    let listed = node.ok(&columns).await;
    assert!(listed.contains("v\td\t[x, y]\tclassic\n"), "{listed}");
    let words = [
        "update_vhost_metadata",
        "v",
        "--tags",
        "q,z",
        "--default-queue-type",
        "quorum",
    ];
    assert_eq!(
        node.ok(&words).await,
        "Updating metadata of vhost \"v\" ...\n"
    );
    let listed = node.ok(&columns).await;
    assert!(listed.contains("v\td\t[q, z]\tquorum\n"), "{listed}");

    node.ok(&["enable_vhost_deletion_protection", "v"]).await;
    let (code, text) = node.fails(&["delete_vhost", "v"]).await;
    assert_eq!(code, EX_DATAERR);
    assert!(text.contains("it is protected from deletion"), "{text}");
    node.ok(&["disable_vhost_deletion_protection", "v"]).await;
    node.ok(&["delete_vhost", "v"]).await;

    assert_eq!(
        node.fails(&["set_vhost_tags", "v", "x"]).await,
        (
            EX_DATAERR,
            "Error:\nVirtual host \"v\" does not exist\n".to_owned()
        )
    );
    let missing = (EX_DATAERR, "Virtual host 'v' does not exist\n".to_owned());
    assert_eq!(
        node.fails(&["update_vhost_metadata", "v", "--tags", "x"])
            .await,
        missing
    );
    let (code, text) = node.fails(&["update_vhost_metadata", "v"]).await;
    assert_eq!(code, EX_USAGE);
    assert!(
        text.starts_with("Error (argument validation): not enough arguments.\n"),
        "{text}"
    );
    let (code, text) = node
        .fails(&["update_vhost_metadata", "/", "--default-queue-type", "foo"])
        .await;
    assert_eq!(code, EX_DATAERR);
    assert!(
        text.contains("must be one of: quorum, stream, classic. Provided: foo\n"),
        "{text}"
    );
}
