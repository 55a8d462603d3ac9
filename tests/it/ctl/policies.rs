//! Commands for policies and operator policies, as rabbitmqctl 4.0.5 answers them, and for alarms.

use super::Node;
use crate::support::exit_code::{EX_DATAERR, EX_UNAVAILABLE, EX_USAGE};

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_set_listed_and_cleared() {
    let node = Node::start().await;
    node.ok(&["add_vhost", "v"]).await;
    let definition = r#"{"max-length":10,"overflow":"drop-head"}"#;
    let set = [
        "set_policy",
        "-p",
        "v",
        "p1",
        "^q",
        definition,
        "--priority",
        "3",
    ];
    assert_eq!(
        node.ok(&[&set[..], &["--apply-to", "queues"]].concat())
            .await,
        "Setting policy \"p1\" for pattern \"^q\" to \"{\"max-length\":10,\"overflow\":\"drop-head\"}\" with priority \"3\" \
         for vhost \"v\" ...\n"
    );
    let alternate = r#"{"alternate-exchange":"amq.fanout"}"#;
    let exchanges = ["--priority", "-3", "--apply-to", "exchanges"];
    let set = ["set_policy", "-q", "-p", "v", "ae", "", alternate];
    assert_eq!(node.ok(&[&set[..], &exchanges].concat()).await, "");
    assert_eq!(
        node.ok(&[
            "set_operator_policy",
            "-p",
            "v",
            "o1",
            "^q",
            r#"{"max-length":5}"#
        ])
        .await,
        "Setting operator policy override \"o1\" for pattern \"^q\" to \"{\"max-length\":5}\" with priority \"0\" for vhost \
         \"v\" ...\n"
    );
    assert_eq!(
        node.ok(&["list_policies", "-p", "v"]).await,
        "Listing policies for vhost \"v\" ...\nvhost\tname\tpattern\tapply-to\tdefinition\tpriority\n\
         v\tae\t\texchanges\t{\"alternate-exchange\":\"amq.fanout\"}\t-3\n\
         v\tp1\t^q\tqueues\t{\"max-length\":10,\"overflow\":\"drop-head\"}\t3\n"
    );
    assert_eq!(
        node.ok(&["list_operator_policies", "-p", "v", "--formatter", "json"])
            .await,
        "[\n{\"vhost\":\"v\",\"name\":\"o1\",\"pattern\":\"^q\",\"apply-to\":\"all\",\"definition\":\"{\\\"max-length\\\":5}\",\
         \"priority\":0}\n]\n"
    );
    assert_eq!(
        node.ok(&["-q", "list_exchanges", "-p", "v", "name", "policy"])
            .await
            .lines()
            .nth(1),
        Some("\tae")
    );
    assert_eq!(
        node.ok(&["clear_operator_policy", "-p", "v", "o1"]).await,
        "Clearing operator policy \"o1\" on vhost \"v\" ...\n"
    );
    assert_eq!(
        node.ok(&["clear_policy", "-p", "v", "p1"]).await,
        "Clearing policy \"p1\" on vhost \"v\" ...\n"
    );
    assert_eq!(
        node.ok(&[
            "-q",
            "set_policy",
            "ha",
            "",
            r#"{"ha-mode":"all","queue-mode":"lazy"}"#
        ])
        .await,
        "Keys that have no effect in Leveret: ha-mode, queue-mode\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_policies_read_as_rabbitmqctls() {
    let node = Node::start().await;
    let invalid = async |definition: &str, text: &str| {
        assert_eq!(
            node.fails(&["set_policy", "p", ".", definition]).await,
            (EX_UNAVAILABLE, format!("Error:\n{text}\n"))
        );
    };
    invalid(
        r#"{"max-length":-1}"#,
        "Validation failed\n\n-1 is not a valid maximum length\n",
    )
    .await;
    invalid("{}", "Validation failed\n\nno policy provided\n").await;
    invalid(
        r#"{"bogus":1}"#,
        "Validation failed\n\n[{<<\"bogus\">>,1}] are not recognised policy settings\n",
    )
    .await;
    invalid(
        "{",
        "Could not parse JSON document: {error,{failed_to_decode_json,<<\"{\">>}}",
    )
    .await;
    let gone = (
        EX_UNAVAILABLE,
        "Error:\nParameter does not exist\n".to_owned(),
    );
    for words in [
        &["clear_policy", "nope"][..],
        &["clear_operator_policy", "nope"],
        &["clear_policy", "-p", "none", "p"],
    ] {
        assert_eq!(node.fails(words).await, gone);
    }
    let no_vhost = (
        EX_DATAERR,
        "Virtual host 'none' does not exist\n".to_owned(),
    );
    for words in [
        &["list_policies", "-p", "none"][..],
        &["list_operator_policies", "-p", "none"],
        &["set_policy", "-p", "none", "p", ".", r#"{"max-length":1}"#],
    ] {
        assert_eq!(node.fails(words).await, no_vhost);
    }
    let (code, text) = node
        .fails(&["set_policy", "p", ".", "{}", "--priority", "1.5"])
        .await;
    assert_eq!(code, EX_USAGE);
    assert!(
        text.starts_with(
            "Error (argument validation): Invalid options for this command:\n--priority : 1.5\n"
        ),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sets_and_clears_alarms() {
    let node = Node::start().await;
    let raised = || node.server.alarms().raised();
    node.ok(&["set_alarm", "memory"]).await;
    node.ok(&["set_alarm", "disk"]).await;
    assert!(raised().memory && raised().disk);
    node.ok(&["clear_alarm", "memory"]).await;
    assert!(!raised().memory && raised().disk);
    node.ok(&["clear_alarm", "disk"]).await;
    assert!(!raised().any());
    let bad = (EX_DATAERR, "Error:\nBad argument.\n".to_owned());
    assert_eq!(node.fails(&["set_alarm", "cpu"]).await, bad);
    assert_eq!(node.fails(&["set_channel_max", "x"]).await, bad);
    node.ok(&["set_channel_max", "48"]).await;
    node.ok(&["set_loopback_users"]).await;
    node.ok(&["set_loopback_users", "guest"]).await;
}
