//! The actions of the API, by name.

/// Makes [`Action`] from the names of the API.
macro_rules! actions {
    ($($name:ident)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(super) enum Action {
            $($name,)+
        }

        impl Action {
            pub(super) fn as_str(self) -> &'static str {
                match self {
                    $(Action::$name => stringify!($name),)+
                }
            }

            /// Case does not matter: clients capitalize some names differently.
            pub(super) fn named(name: &str) -> Option<Action> {
                const ALL: &[(&str, Action)] = &[$((stringify!($name), Action::$name)),+];
                ALL.iter()
                    .find(|(own, _)| own.eq_ignore_ascii_case(name))
                    .map(|(_, action)| *action)
            }
        }
    };
}

actions! {
    CreateQueue ListQueue GetQueueAttributes SetQueueAttributes DeleteQueue ClearQueue RewindQueue
    QueryQueueRoute UnbindDeadLetterQueue ListDeadLetterSourceQueues
    CreateTopic ListTopic GetTopicAttributes SetTopicAttributes DeleteTopic QueryTopicRoute
    PublishMessage BatchPublishMessage
    Subscribe Unsubscribe ListSubscriptionByTopic GetSubscriptionAttributes
    SetSubscriptionAttributes ClearSubscriptionFilterTags
    SendMessage BatchSendMessage ReceiveMessage BatchReceiveMessage DeleteMessage BatchDeleteMessage
}

impl Action {
    /// Whether it sends messages, so that a repeated request would send them twice.
    pub(super) fn sends(self) -> bool {
        matches!(
            self,
            Action::SendMessage
                | Action::BatchSendMessage
                | Action::PublishMessage
                | Action::BatchPublishMessage
        )
    }
}
