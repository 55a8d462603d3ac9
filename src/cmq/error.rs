//! The errors of CMQ's HTTP API: one table of code, module code and text. Several errors share a code and module code, so
//! only all three identify one. Knows nothing of why the broker refused; the actions choose the error.

use crate::broker::error::BrokerError;
use crate::broker::permissions::AccessRefused;
use crate::store::StoreFailed;

/// Makes [`CmqError`] and [`TABLE`] from the rows: variant, code, module code, text. `{0}` is the name of a parameter.
macro_rules! errors {
    ($($name:ident $(($parameter:ty))? $code:literal / $module:literal $text:literal;)+) => {
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        pub enum CmqError {
            $(#[error($text)] $name $(($parameter))?,)+
        }

        /// All rows as (code, module code, text).
        pub const TABLE: &[(u16, u16, &str)] = &[$(($code, $module, $text)),+];

        impl CmqError {
            /// `code` in the answer.
            pub fn code(&self) -> u16 {
                match self {
                    $(CmqError::$name { .. } => $code,)+
                }
            }

            /// The number in brackets at the start of `message`.
            pub fn module(&self) -> u16 {
                match self {
                    $(CmqError::$name { .. } => $module,)+
                }
            }
        }
    };
}

errors! {
    QueueNameFormat 4000/10020 "queue name format error";
    EmptyBody 4000/10120 "message body can't be empty";
    EmptyEntry(String) 4000/10120 "message body can't be empty: {0}";
    NoSuchAction(String) 4000/10430 "action name {0} is not existed";
    KeyFormat(String) 4000/10310 "error: parameter {0} key format error";
    NotRepeatable(String) 4000/10330 "parameter {0} is NOT a repeatable parameter";
    OutOfRange(String) 4000/10350 "parameter {0} value or length is out of range";
    WrongType(String) 4000/10360 "parameter {0} error type";
    BatchSize(String) 4000/10370 "{0} parameter batch size is out of range";
    NotConsecutive(String) 4000/10380 "{0} parameter is not consequent";
    Missing(String) 4000/10390 "lacked of required parameter {0}";
    HttpMethod(String) 4000/10410 "unexpected http {0} only GET or POST is supported";
    Unreadable(&'static str) 4000/10420 "cannot parse {0}, or request size is more than 1MB";
    NotAllowed 4000/10461 "no cam authentication";
    ReceiptHandleFormat 4000/10470 "receiptHandle error";
    TooManyFilterTags 4000/10490 "number of filterTag exceed limit";
    EndpointFormat 4000/10500 "endpoint format error";
    UndefinedProtocol 4000/10510 "undefined protocol";
    UndefinedStrategy 4000/10520 "undefined notify retry stragety";
    UndefinedFormat 4000/10530 "undefined notify content format";
    TopicInUse 4000/10540 "there exists subscriptions under this topic, please unsubscribe all of them before DeleteTopic";
    SubscriptionNameFormat 4000/10580 "subscription name format error";
    TopicNameFormat 4000/10590 "topic name format error";
    IllegalEndpoint 4000/10630 "illegal endpoint";
    TooManyBindingKeys 4000/10680 "too many bindingKey";
    RewindTime 4000/10680 "invalid rewind time, you can get the vaild range of that via GetQueueAttributes";
    TooManyDelimiters 4000/10691 "too many delimeters";
    DelaySeconds 4000/10692 "delay seconds is out of range";
    NoRoutingKey 4000/10700 "parameters lack of routingKey";
    NoBindingKey 4000/10710 "parameters lack of bindingKey";
    TooManyMessageTags 4000/10720 "too many msgTag";
    RewindBeyondRetention 4000/10700 "rewindSeconds cannot be greater than msgRetentionSeconds";
    DeadLetterNotJson 4000/10710 "deadLetterPolicy must be a json string";
    DeadLetterParameters 4000/10720 "deadLetterPolicy params error,please check it";
    DeadLetterNotFound 4000/10730 "deadLetter queue not exist";
    DeadLetterNested 4000/10740 "deadLetter queue is not allowed to nest";
    DeadLetterInUse 4000/10750 "it is not allowed to be deleted when the queue is dead letter queue";
    DeadLetterQueueMember 4000/10760 "the deadLetterPolicy must has deadLetterQueue member, only be a string";
    DeadLetterPolicyMember 4000/10770 "the deadLetterPolicy must has policy member , only set 0 or 1";
    DeadLetterBoundTooOften 4000/10780 "the deadLetter Queue bind too many times";
    Authentication 4100/10030 "authentication failed";
    NoSuchSecretId 4100/10270 "secret id is not existed";
    MessageTooLarge 4400/10230 "exceed maximum message size";
    EntryTooLarge(String) 4400/10230 "exceed maximum message size: {0}";
    QueueFull 4410/10240 "reach maximum retention number of message";
    Throttled 4420/10250 "qps throttling";
    InvalidHandle 4430/10260 "receipt handle is invalid";
    NoSuchQueue 4440/10100 "queue is not existed, or deleted";
    NoSuchTopic 4440/10600 "topic is not existed, or deleted";
    NoSuchSubscription 4440/10600 "subscription is not existed, or deleted";
    TooManyQueues 4450/10220 "number of queues has reached the limit";
    TooManyTopics 4450/10610 "number of topics has reached the limit";
    QueueExists 4460/10210 "queue is already existed,case insensitive";
    TopicExists 4460/10550 "topic is already existed";
    BatchTooLarge 4470/10300 "total message size exceed 1MB";
    SubscriptionExists 4490/10470 "subscribtion is already existed";
    TooManySubscriptions 4500/10480 "number of subscription has reached the limit";
    BlankInEndpoint 4510/10570 "url connot contain any blank characters";
    Internal 6000/10050 "server internal error";
    SendFailed 6000/10090 "send message failed";
    DeletePartlyFailed 6010/10150 "delete message partially failed";
    DeleteFailed 6020/10290 "batch delete message failed";
    NoSubscription 6030/10650 "topic has no subscription, please create a subscription before publishing message";
    NoMatch 6030/10730 "no bindingKey or filterTag matches the routingKey or msgTag";
    QueueNameRests 6040/10660 "it will take some time to release resources of previous queue before you create a new one with the same name, please try later";
    TopicNameRests 6040/10660 "it will take some time to release resources of previous topic before you create a new one with the same name, please try later";
    NotRewindable 6050/10670 "your queue cannot be rewinded";
    TooManyFilters 6050/10740 "too many filterTag or bindingKey";
    TooManyUnacked 6070/10690 "too many unacked(inactive) messages or delayed messages";
    NoMessage 7000/10200 "no message";
}

impl CmqError {
    /// `message` in the answer: the module code in brackets, then the text.
    pub fn message(&self) -> String {
        format!("({}){self}", self.module())
    }
}

impl From<AccessRefused> for CmqError {
    fn from(refused: AccessRefused) -> CmqError {
        tracing::info!(%refused, "request refused");
        CmqError::NotAllowed
    }
}

impl From<StoreFailed> for CmqError {
    fn from(_: StoreFailed) -> CmqError {
        CmqError::Internal
    }
}

/// For refusals that an action does not expect, since it checks what it can before it asks the broker.
impl From<BrokerError> for CmqError {
    fn from(error: BrokerError) -> CmqError {
        match error {
            BrokerError::AccessRefused(refused) => refused.into(),
            BrokerError::ResourceLocked(_) => CmqError::NotAllowed,
            BrokerError::LimitReached(_) => CmqError::TooManyQueues,
            BrokerError::NotFound(_) => CmqError::NoSuchQueue,
            other => {
                tracing::warn!(error = %other, "the broker refused what the API allows");
                CmqError::Internal
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn rows_are_distinct() {
        let distinct: HashSet<_> = TABLE.iter().collect();
        assert_eq!(distinct.len(), TABLE.len());
        for (code, module, _) in TABLE {
            assert!((4000..=7000).contains(code) && (10_000..11_000).contains(module));
        }
    }

    #[test]
    fn errors_have_their_codes_and_texts() {
        for (error, code, module, text) in [
            (
                CmqError::NoSuchAction("Fly".into()),
                4000,
                10430,
                "action name Fly is not existed",
            ),
            (CmqError::NoMessage, 7000, 10200, "no message"),
            (
                CmqError::InvalidHandle,
                4430,
                10260,
                "receipt handle is invalid",
            ),
            (
                CmqError::Unreadable("request"),
                4000,
                10420,
                "cannot parse request, or request size is more than 1MB",
            ),
        ] {
            assert_eq!((error.code(), error.module()), (code, module));
            assert_eq!(error.to_string(), text);
        }
    }
}
