//! The HTTP request that pushes a message to an endpoint. Pure.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};

use super::target::Target;
use crate::broker::queue::Received;
use crate::cmq::filter::tags_of;
use crate::cmq::message::{message_id, write_body};
use crate::cmq::response::object;
use crate::cmq::topics::{Format, Subscription, Topic};
use crate::wire::PropertiesView;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain");
const AGENT: HeaderValue = HeaderValue::from_static("Qcloud Notification Service Agent");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-cmq-request-id");
const MESSAGE_ID: HeaderName = HeaderName::from_static("x-cmq-message-id");
const MESSAGE_TAG: HeaderName = HeaderName::from_static("x-cmq-message-tag");
/// `TopicOwner`: endpoints may expect a number, which CMQ's accounts have and the broker's users do not.
const TOPIC_OWNER: u64 = 0;

/// A push that can be sent any number of times.
#[derive(Clone, Debug)]
pub(super) struct Push {
    path: Uri,
    host: HeaderValue,
    id: HeaderValue,
    message_id: HeaderValue,
    tags: Option<HeaderValue>,
    body: Bytes,
}

impl Push {
    /// `id` is the push's own number. `None` if the target's path is no valid URI, which was checked when the endpoint was
    /// stored.
    pub(super) fn new(
        target: &Target,
        topic: &Topic,
        subscription: &Subscription,
        received: &Received,
        enqueued_secs: u64,
        id: u64,
    ) -> Option<Push> {
        let message = &received.message;
        let view = PropertiesView::parse(&message.properties).ok();
        let tags = view.as_ref().map(tags_of).unwrap_or_default();
        let message_id = message_id(received);
        let body = match subscription.format {
            Format::Simplified => match message.body.slices() {
                [whole] => whole.clone(),
                parts => parts.concat().into(),
            },
            Format::Json => {
                let stamp = view.as_ref().and_then(PropertiesView::timestamp);
                object(|object| {
                    object
                        .number("TopicOwner", TOPIC_OWNER)
                        .text("topicName", &topic.name)
                        .text("subscriptionName", &subscription.name)
                        .text("msgId", &message_id);
                    write_body(message, object);
                    let published_secs = stamp.unwrap_or(enqueued_secs);
                    object.number("publishTime", published_secs);
                })
                .into()
            }
        };
        Some(Push {
            path: target.path.parse().ok()?,
            host: header(&target.authority),
            id: header(&id.to_string()),
            message_id: header(&message_id),
            tags: (!tags.is_empty()).then(|| header(&tags.join(", "))),
            body,
        })
    }

    pub(super) fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, TEXT);
        headers.insert(USER_AGENT, AGENT);
        headers.insert(REQUEST_ID, self.id.clone());
        headers.insert(MESSAGE_ID, self.message_id.clone());
        if let Some(tags) = &self.tags {
            headers.insert(MESSAGE_TAG, tags.clone());
        }
        request
    }
}

/// The value of a header. Control characters, such as an end of line, become blanks.
fn header(text: &str) -> HeaderValue {
    let clean: String = text
        .chars()
        .map(|c| if c.is_ascii_control() { ' ' } else { c })
        .collect();
    HeaderValue::from_bytes(clean.as_bytes()).unwrap_or(HeaderValue::from_static(""))
}
