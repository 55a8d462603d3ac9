//! Checks of a broker through lapin: one function per name in checks.txt.

use std::time::Duration;

use futures_lite::StreamExt;
use lapin::{
    BasicProperties, Connection, ConnectionProperties, ExchangeKind,
    options::*,
    types::{AMQPValue, FieldArray, FieldTable},
    uri::AMQPUri,
};

use crate::support::*;

/// The names of the checks in their order.
pub const NAMES: [&str; 18] = [
    "connect-auth-ok",
    "connect-auth-refused",
    "connect-vhost-missing",
    "declare-passive",
    "declare-server-named",
    "declare-inequivalent",
    "publish-confirm",
    "mandatory-return-before-confirm",
    "consume-ack",
    "body-larger-than-frame",
    "nack-requeue-redelivered",
    "reject-dead-letter",
    "get-and-get-empty",
    "prefetch-bound",
    "consumer-cancel-notification",
    "heartbeat-idle",
    "channel-error-connection-alive",
    "restart-durable",
];

/// Runs the check of that name.
pub async fn run(name: &str, connection: &Connection) -> Outcome {
    match name {
        "connect-auth-ok" => connect_auth_ok(connection),
        "connect-auth-refused" => connect_auth_refused().await,
        "connect-vhost-missing" => connect_vhost_missing().await,
        "declare-passive" => declare_passive(connection).await,
        "declare-server-named" => declare_server_named(connection).await,
        "declare-inequivalent" => declare_inequivalent(connection).await,
        "publish-confirm" => publish_confirm(connection).await,
        "mandatory-return-before-confirm" => mandatory_return_before_confirm(connection).await,
        "consume-ack" => consume_ack(connection).await,
        "body-larger-than-frame" => body_larger_than_frame(connection).await,
        "nack-requeue-redelivered" => nack_requeue_redelivered(connection).await,
        "reject-dead-letter" => reject_dead_letter(connection).await,
        "get-and-get-empty" => get_and_get_empty(connection).await,
        "prefetch-bound" => prefetch_bound(connection).await,
        "consumer-cancel-notification" => consumer_cancel_notification(connection).await,
        "heartbeat-idle" => heartbeat_idle().await,
        "channel-error-connection-alive" => channel_error_connection_alive(connection).await,
        "restart-durable" => restart_durable(connection).await,
        other => Err(Failure::text(format!("no check is called {other}"))),
    }
}

/// Connects with a changed URL.
async fn connect_with(change: impl FnOnce(&mut AMQPUri)) -> lapin::Result<Connection> {
    let mut uri: AMQPUri = broker_url().parse().expect("AMQP_URL is no AMQP URL");
    change(&mut uri);
    Connection::connect_uri(uri, ConnectionProperties::default()).await
}

fn persistent() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

fn connect_auth_ok(connection: &Connection) -> Outcome {
    equal("connected", connection.status().connected(), true)
}

async fn connect_auth_refused() -> Outcome {
    let refused = connect_with(|uri| uri.authority.userinfo.password = "wrong".into()).await;
    expect_close(403, "ACCESS_REFUSED - Login was refused", refused)
}

async fn connect_vhost_missing() -> Outcome {
    let refused = connect_with(|uri| uri.vhost = "interop-none".into()).await;
    expect_close(530, "NOT_ALLOWED - vhost interop-none not found", refused)
}

async fn declare_passive(connection: &Connection) -> Outcome {
    let channel = confirm_channel(connection).await?;
    let queue = temporary(&channel).await?;
    publish(&channel, &queue, b"one").await?;
    equal("message count", count(&channel, &queue).await?, 1)?;
    let absent = name("absent");
    let passive = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let missing = channel
        .queue_declare(absent.clone(), passive, FieldTable::default())
        .await;
    expect_close(404, &format!("NOT_FOUND - no queue '{absent}' in vhost '/'"), missing)?;
    let channel = connection.create_channel().await?;
    let passive = ExchangeDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let missing = channel
        .exchange_declare(absent.clone(), ExchangeKind::Direct, passive, FieldTable::default())
        .await;
    expect_close(
        404,
        &format!("NOT_FOUND - no exchange '{absent}' in vhost '/'"),
        missing,
    )
}

async fn declare_server_named(connection: &Connection) -> Outcome {
    let channel = confirm_channel(connection).await?;
    let first = temporary(&channel).await?;
    let second = temporary(&channel).await?;
    equal("server's prefix", first.as_str().starts_with("amq.gen-"), true)?;
    equal("same name twice", first == second, false)?;
    publish(&channel, &second, b"here").await?;
    // The empty name stands for the queue declared last on this channel.
    let message = take(&channel, &"".into()).await?;
    equal("body", message.delivery.data.as_slice(), b"here")
}

async fn declare_inequivalent(connection: &Connection) -> Outcome {
    let keeper = connection.create_channel().await?;
    let queue = name("inequivalent");
    keeper
        .queue_declare(queue.clone(), QueueDeclareOptions::durable(), FieldTable::default())
        .await?;
    let other = connection.create_channel().await?;
    let refused = other
        .queue_declare(queue.clone(), QueueDeclareOptions::default(), FieldTable::default())
        .await;
    keeper
        .queue_delete(queue.clone(), QueueDeleteOptions::default())
        .await?;
    let text = format!(
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{queue}' in vhost '/': \
         received 'false' but current is 'true'"
    );
    expect_close(406, &text, refused)
}

async fn publish_confirm(connection: &Connection) -> Outcome {
    let channel = confirm_channel(connection).await?;
    let queue = name("confirm");
    channel
        .queue_declare(queue.clone(), QueueDeclareOptions::durable(), FieldTable::default())
        .await?;
    let mut confirms = Vec::new();
    for body in numbers() {
        let options = BasicPublishOptions::default();
        confirms.push(
            channel
                .basic_publish("".into(), queue.clone(), options, &body, persistent())
                .await?,
        );
    }
    for confirm in confirms {
        equal("acknowledged", confirm.await?.is_ack(), true)?;
    }
    equal(
        "messages in the queue",
        count(&channel, &queue).await? as usize,
        MESSAGES,
    )?;
    let bodies = drain(&channel, &queue).await?;
    channel.queue_delete(queue, QueueDeleteOptions::default()).await?;
    equal("bodies", bodies, numbers())
}

async fn mandatory_return_before_confirm(connection: &Connection) -> Outcome {
    let channel = confirm_channel(connection).await?;
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let confirm = channel
        .basic_publish(
            "".into(),
            name("nowhere"),
            mandatory,
            b"lost",
            BasicProperties::default(),
        )
        .await?
        .await?;
    equal("acknowledged", confirm.is_ack(), true)?;
    // The confirm has the returned message only if the return came first.
    let Some(returned) = confirm.take_message() else {
        return Err(Failure::text("nothing was returned before the confirm"));
    };
    equal("reply code", returned.reply_code, 312)?;
    equal("reply text", returned.reply_text.as_str(), "NO_ROUTE")?;
    equal("body", returned.delivery.data.as_slice(), b"lost")
}

async fn consume_ack(connection: &Connection) -> Outcome {
    let channel = confirm_channel(connection).await?;
    let queue = temporary(&channel).await?;
    let mut headers = FieldTable::default();
    headers.insert("int".into(), AMQPValue::LongInt(7));
    headers.insert("text".into(), AMQPValue::LongString("x".into()));
    headers.insert(
        "list".into(),
        AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::Boolean(true)])),
    );
    headers.insert("float".into(), AMQPValue::Double(1.5));
    headers.insert("none".into(), AMQPValue::Void);
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_message_id("m1".into())
        .with_priority(3);
    for body in numbers() {
        publish_with(&channel, "".into(), &queue, &body, properties.clone()).await?;
    }
    let options = BasicConsumeOptions::default();
    let mut consumer = channel
        .basic_consume(queue.clone(), "".into(), options, FieldTable::default())
        .await?;
    for (delivery, body) in receive(&mut consumer, MESSAGES).await?.into_iter().zip(numbers()) {
        equal("body", &delivery.data, &body)?;
        equal("properties", &delivery.properties, &properties)?;
        equal("redelivered", delivery.redelivered, false)?;
        equal("routing key", &delivery.routing_key, &queue)?;
        delivery.ack(BasicAckOptions::default()).await?;
    }
    channel.close(200, "done".into()).await?;
    let channel = connection.create_channel().await?;
    equal("left after acks", count(&channel, &queue).await?, 0)
}

async fn body_larger_than_frame(connection: &Connection) -> Outcome {
    let channel = confirm_channel(connection).await?;
    let queue = temporary(&channel).await?;
    for size in [0, 1, 131_064, 131_065, 1_000_003] {
        let body: Vec<u8> = (0..=250).cycle().take(size).collect();
        publish(&channel, &queue, &body).await?;
        let message = take(&channel, &queue).await?;
        equal(&format!("same {size} bytes"), message.delivery.data == body, true)?;
    }
    Ok(())
}

async fn nack_requeue_redelivered(connection: &Connection) -> Outcome {
    let channel = confirm_channel(connection).await?;
    let queue = temporary(&channel).await?;
    for body in [b"a", b"b"] {
        publish(&channel, &queue, body).await?;
    }
    for redelivered in [false, true] {
        let message = take(&channel, &queue).await?;
        equal("body", message.delivery.data.as_slice(), b"a")?;
        equal("redelivered", message.delivery.redelivered, redelivered)?;
        message
            .delivery
            .nack(BasicNackOptions {
                requeue: true,
                multiple: false,
            })
            .await?;
    }
    Ok(())
}

async fn reject_dead_letter(connection: &Connection) -> Outcome {
    let channel = confirm_channel(connection).await?;
    let (exchange, source) = (name("dlx"), name("dl-source"));
    let options = ExchangeDeclareOptions {
        auto_delete: true,
        ..Default::default()
    };
    channel
        .exchange_declare(exchange.clone(), ExchangeKind::Fanout, options, FieldTable::default())
        .await?;
    let target = temporary(&channel).await?;
    let bind = QueueBindOptions::default();
    channel
        .queue_bind(target.clone(), exchange.clone(), "".into(), bind, FieldTable::default())
        .await?;
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-dead-letter-exchange".into(),
        AMQPValue::LongString(exchange.as_str().into()),
    );
    channel
        .queue_declare(source.clone(), QueueDeclareOptions::exclusive(), arguments)
        .await?;
    publish(&channel, &source, b"poison").await?;
    let message = take(&channel, &source).await?;
    message.delivery.reject(BasicRejectOptions { requeue: false }).await?;
    let dead = take(&channel, &target).await?.delivery;
    equal("body", dead.data.as_slice(), b"poison")?;
    equal("exchange", &dead.exchange, &exchange)?;
    equal("routing key", &dead.routing_key, &source)?;
    let deaths = dead
        .properties
        .headers()
        .as_ref()
        .and_then(|headers| headers.inner().get("x-death"));
    let Some(AMQPValue::FieldArray(deaths)) = deaths else {
        return Err(Failure::text(format!("x-death is {deaths:?}")));
    };
    let [AMQPValue::FieldTable(death)] = deaths.as_slice() else {
        return Err(Failure::text(format!("x-death is {deaths:?}")));
    };
    let field = |key: &str| death.inner().get(key).cloned();
    equal(
        "reason",
        field("reason"),
        Some(AMQPValue::LongString("rejected".into())),
    )?;
    equal(
        "queue",
        field("queue"),
        Some(AMQPValue::LongString(source.as_str().into())),
    )?;
    equal("count", field("count"), Some(AMQPValue::LongLongInt(1)))
}

async fn get_and_get_empty(connection: &Connection) -> Outcome {
    let channel = confirm_channel(connection).await?;
    let queue = temporary(&channel).await?;
    let get = |no_ack| channel.basic_get(queue.clone(), BasicGetOptions { no_ack });
    equal("empty queue", get(false).await?.is_none(), true)?;
    for body in [b"1", b"2"] {
        publish(&channel, &queue, body).await?;
    }
    let first = take(&channel, &queue).await?;
    equal("body", first.delivery.data.as_slice(), b"1")?;
    equal("messages left", first.message_count, 1)?;
    equal("second message", get(true).await?.is_some(), true)?;
    equal("empty again", get(false).await?.is_none(), true)
}

async fn prefetch_bound(connection: &Connection) -> Outcome {
    let channel = confirm_channel(connection).await?;
    let queue = temporary(&channel).await?;
    for i in 0_u8..20 {
        publish(&channel, &queue, &[i]).await?;
    }
    channel.basic_qos(5, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel
        .basic_consume(queue, "".into(), options, FieldTable::default())
        .await?;
    let taken = receive(&mut consumer, 5).await?;
    let [_, second, ..] = taken.as_slice() else {
        return Err(Failure::text("fewer than two deliveries"));
    };
    second.ack(BasicAckOptions { multiple: true }).await?;
    receive(&mut consumer, 2).await?;
    Ok(())
}

async fn consumer_cancel_notification(connection: &Connection) -> Outcome {
    let channel = connection.create_channel().await?;
    let queue = name("cancelled");
    channel
        .queue_declare(queue.clone(), QueueDeclareOptions::default(), FieldTable::default())
        .await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel
        .basic_consume(queue.clone(), "mine".into(), options, FieldTable::default())
        .await?;
    let other = connection.create_channel().await?;
    other.queue_delete(queue, QueueDeleteOptions::default()).await?;
    // A cancel by the broker ends the stream of deliveries.
    match tokio::time::timeout(DEADLINE, consumer.next()).await {
        Ok(None) => {}
        Ok(Some(delivery)) => return Err(Failure::text(format!("a delivery instead of a cancel: {delivery:?}"))),
        Err(_) => return Err(Failure::text("no cancel came")),
    }
    temporary(&channel).await?;
    Ok(())
}

async fn heartbeat_idle() -> Outcome {
    let connection = connect_with(|uri| uri.query.heartbeat = Some(1)).await?;
    equal("negotiated heartbeat", connection.configuration().heartbeat(), 1)?;
    let channel = connection.create_channel().await?;
    let queue = temporary(&channel).await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    equal("messages after idling", count(&channel, &queue).await?, 0)?;
    connection.close(200, "done".into()).await?;
    Ok(())
}

async fn channel_error_connection_alive(connection: &Connection) -> Outcome {
    let bystander = connection.create_channel().await?;
    let queue = temporary(&bystander).await?;
    let failing = connection.create_channel().await?;
    failing.basic_ack(99, BasicAckOptions::default()).await?;
    let next = failing
        .queue_declare("".into(), QueueDeclareOptions::exclusive(), FieldTable::default())
        .await;
    expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 99", next)?;
    equal("connected", connection.status().connected(), true)?;
    count(&bystander, &queue).await?;
    connection.create_channel().await?.close(200, "done".into()).await?;
    Ok(())
}

async fn restart_durable(idle: &Connection) -> Outcome {
    let restart = require_restart()?;
    idle.close(200, "done".into()).await?;
    let (exchange, queue) = (name("restart-x"), name("restart"));
    let before = Connection::connect(&broker_url(), ConnectionProperties::default()).await?;
    let channel = confirm_channel(&before).await?;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .exchange_declare(exchange.clone(), ExchangeKind::Direct, durable, FieldTable::default())
        .await?;
    channel
        .queue_declare(queue.clone(), QueueDeclareOptions::durable(), FieldTable::default())
        .await?;
    let bind = QueueBindOptions::default();
    channel
        .queue_bind(
            queue.clone(),
            exchange.clone(),
            "key".into(),
            bind,
            FieldTable::default(),
        )
        .await?;
    for body in numbers() {
        publish_with(&channel, exchange.clone(), &"key".into(), &body, persistent()).await?;
    }
    for _ in 0..10 {
        take(&channel, &queue).await?;
    }
    restart_broker(&restart).await?;

    let after = Connection::connect(&broker_url(), ConnectionProperties::default()).await?;
    let channel = confirm_channel(&after).await?;
    publish_with(&channel, exchange.clone(), &"key".into(), b"after", persistent()).await?;
    equal("messages after", count(&channel, &queue).await? as usize, MESSAGES + 1)?;
    let mut want = numbers();
    want.push(b"after".to_vec());
    equal("bodies", drain(&channel, &queue).await?, want)?;
    channel.queue_delete(queue, QueueDeleteOptions::default()).await?;
    channel
        .exchange_delete(exchange, ExchangeDeleteOptions::default())
        .await?;
    after.close(200, "done".into()).await?;
    Ok(())
}
