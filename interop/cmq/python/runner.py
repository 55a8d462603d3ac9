"""Checks of the CMQ API through Tencent's Python SDK (`qcloud-cmq-sdk-py3`): one function per name in the lists."""

import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lib"))

# The SDK opens a log file in the working directory when it creates an account.
os.chdir(tempfile.mkdtemp(prefix="interop-cmq-"))

import beyond  # noqa: E402
import kills  # noqa: E402
import messages  # noqa: E402
import pushes  # noqa: E402
import queues  # noqa: E402
import topics  # noqa: E402
from report import Report  # noqa: E402

# In the order of checks.txt, control.txt and python/checks.txt.
CHECKS = {
    "send-receive-delete": messages.send_receive_delete,
    "text-of-any-kind": messages.text_of_any_kind,
    "body-begins-with-at": messages.body_begins_with_at,
    "sign-sha1": messages.signed_with("sha1"),
    "sign-sha256": messages.signed_with("sha256"),
    "get-method": messages.get_method,
    "batch-of-sixteen": messages.batch_of_sixteen,
    "batch-delete-partial": messages.batch_delete_partial,
    "batch-delete-all-bad": messages.batch_delete_all_bad,
    "receive-empty": messages.receive_empty,
    "long-poll-wakes": messages.long_poll_wakes,
    "long-poll-ends": messages.long_poll_ends,
    "delay": messages.delay,
    "older-handle": messages.older_handle,
    "expired-handle": messages.expired_handle,
    "delete-twice": messages.delete_twice,
    "handle-malformed": messages.handle_malformed,
    "queue-missing": messages.queue_missing,
    "body-empty": messages.body_empty,
    "body-too-long": messages.body_too_long,
    "wrong-key": messages.wrong_key,
    "unknown-key": messages.unknown_key,
    "queue-life-cycle": queues.queue_life_cycle,
    "queue-exists": queues.queue_exists,
    "queue-name-refused": queues.queue_name_refused,
    "attribute-out-of-range": queues.attribute_out_of_range,
    "polling-wait-of-queue": queues.polling_wait_of_queue,
    "rewind": queues.rewind,
    "rewind-refused": queues.rewind_refused,
    "dead-letter-received-too-often": queues.dead_letter_received_too_often,
    "dead-letter-rules": queues.dead_letter_rules,
    "topic-life-cycle": topics.topic_life_cycle,
    "topic-without-subscription": topics.topic_without_subscription,
    "topic-tags": topics.topic_tags,
    "topic-keys": topics.topic_keys,
    "topic-batch": topics.topic_batch,
    "subscription-attributes": topics.subscription_attributes,
    "subscription-refused": topics.subscription_refused,
    "push-json": pushes.push_json,
    "push-simplified": pushes.push_simplified,
    "push-backoff-retry": pushes.push_backoff_retry,
    "push-exponential-decay-retry": pushes.push_exponential_decay_retry,
    "push-slow-endpoint": pushes.push_slow_endpoint,
    "timestamp-too-old": beyond.timestamp_too_old,
    "batch-too-many": beyond.batch_too_many,
    "batch-numbered-with-gap": beyond.batch_numbered_with_gap,
    "action-unknown": beyond.action_unknown,
    "parameter-missing": beyond.parameter_missing,
    "permission-refused": beyond.permission_refused,
    "endpoint-forbidden": beyond.endpoint_forbidden,
    "list-in-pages": beyond.list_in_pages,
    "many-waiters-one-message": beyond.many_waiters_one_message,
    "amqp-and-http-one-queue": beyond.amqp_and_http_one_queue,
    "amqp-to-topic": beyond.amqp_to_topic,
    "push-after-restart": pushes.push_after_restart,
    "kills-lose-nothing": kills.kills_lose_nothing,
    "restart-keeps-lease": messages.restart_keeps_lease,
}


def main() -> int:
    report = Report()
    chosen = sys.argv[1:] or list(CHECKS)
    for check in chosen:
        with report.check(check):
            CHECKS[check]()
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
