//! The parameters of each question.

use std::sync::Arc;

use reqwest::Url;

use super::form::Form;
use crate::auth::backend::{Backend, External};
use crate::auth::login::{Credentials, Login};
use crate::auth::question::{Permission, Question, ResourceKind};
use crate::auth::user::{AuthUser, Authority, Authorizer};

fn user(tags: &[&str]) -> AuthUser {
    AuthUser {
        name: "ann b".into(),
        tags: tags
            .iter()
            .map(|tag| (*tag).into())
            .collect::<Vec<_>>()
            .into(),
        authenticated_by: Backend::External(External::Http),
        authorizer: Authorizer::External(Authority::Http),
    }
}

#[test]
fn a_login_sends_name_and_password() {
    let form = |credentials| {
        let login = Login {
            name: "ann&b",
            credentials,
        };
        Form::of_login(&login).text().to_owned()
    };
    assert_eq!(
        form(Credentials::Password(b"p w=\xff")),
        "username=ann%26b&password=p+w%3D%FF"
    );
    assert_eq!(form(Credentials::Certificate), "username=ann%26b");
}

#[test]
fn each_question_has_its_parameters() {
    let form = |tags: &[&str], question: &Question| {
        Form::of_question(&user(tags), question).text().to_owned()
    };
    let peer = Some("::ffff:10.0.0.1".parse().unwrap());
    let vhost = || Arc::from("/");
    let (name, permission) = ("q 1".into(), Permission::Configure);
    for (question, expected) in [
        (
            Question::Vhost {
                vhost: vhost(),
                peer,
            },
            "username=ann+b&vhost=%2F&ip=10.0.0.1&tags=management+custom",
        ),
        (
            Question::Vhost {
                vhost: vhost(),
                peer: None,
            },
            "username=ann+b&vhost=%2F&ip=&tags=management+custom",
        ),
        (
            Question::Resource {
                vhost: vhost(),
                kind: ResourceKind::Queue,
                name,
                permission,
            },
            "username=ann+b&vhost=%2F&resource=queue&name=q+1&permission=configure&tags=management+custom",
        ),
        (
            Question::Topic {
                vhost: vhost(),
                exchange: "t".into(),
                permission: Permission::Write,
                routing_key: "a.b".into(),
            },
            "username=ann+b&vhost=%2F&resource=topic&name=t&permission=write&tags=management+custom\
             &routing_key=a.b&variable_map.username=ann+b&variable_map.vhost=%2F",
        ),
    ] {
        assert_eq!(form(&["management", "custom"], &question), expected);
    }
}

#[test]
fn a_query_goes_behind_that_of_the_address() {
    let login = Login {
        name: "ann",
        credentials: Credentials::Certificate,
    };
    let form = Form::of_login(&login);
    for (address, expected) in [
        ("http://a:8000/u", "http://a:8000/u?username=ann"),
        ("http://a/u?", "http://a/u?username=ann"),
        ("http://a/u?key=1", "http://a/u?key=1&username=ann"),
    ] {
        assert_eq!(
            form.behind(&Url::parse(address).unwrap()).as_str(),
            expected
        );
    }
}
