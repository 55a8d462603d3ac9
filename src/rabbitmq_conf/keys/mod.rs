//! The table of all keys of RabbitMQ 4.0 to 4.3 and its plugins, by subject. The first row that fits a key holds.

mod http; // the management API and the metrics
mod limits; // limits, alarms, frames
mod listeners; // listeners, sockets, TLS
mod logging; // logs
mod logins; // users, mechanisms, backends
mod others; // what a single node without Erlang has no use for

use super::row::Row;
use super::syntax::Key;

const TABLES: [&[Row]; 6] = [
    listeners::ROWS,
    logins::ROWS,
    limits::ROWS,
    http::ROWS,
    logging::ROWS,
    others::ROWS,
];

pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    TABLES.into_iter().flatten()
}

/// The row of a key, and its rank in the table.
pub(super) fn find(key: &Key) -> Option<(usize, &'static Row)> {
    rows().enumerate().find(|(_, row)| row.is_about(key))
}

/// The keys without a variable part.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let is_name = |pattern: &&str| !pattern.contains(['$', '*']);
    rows().map(|row| row.pattern).filter(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first words of all keys in the schemas of RabbitMQ 4.0.5 and 4.3.6.
    const FAMILIES: &str = "amqp10_client amqp_client anonymous_login_pass anonymous_login_user auth_backends auth_cache \
        auth_http auth_ldap auth_mechanisms auth_oauth2 aws background_gc_enabled background_gc_target_interval \
        channel_interceptor channel_max channel_max_per_node channel_tx_message_max classic_queue cluster_exchange_limit \
        cluster_formation cluster_keepalive_interval cluster_name cluster_partition_handling cluster_queue_limit \
        cluster_tags collect_statistics collect_statistics_interval connection_max consumer_disconnected_timeout \
        consumer_max_per_channel consumer_timeout credential_validator credentials_obfuscation default_limits default_pass \
        default_permissions default_policies default_queue_type default_user default_user_tags default_users default_vhost \
        default_worker_pool_size definitions delegate_count deprecated_features disk_free_limit distributed_cookie \
        distribution erlang event_exchange exchange_types federation frame_max handshake_timeout heartbeat hipe_compile \
        http_dispatch initial_frame_max link_max_per_session listeners load_definitions log loopback_users management \
        management_agent max_channels_per_connection max_connections max_message_size memory_monitor_interval \
        message_interceptors message_store_shutdown_timeout metadata_store mirroring_sync_batch_size \
        mirroring_sync_max_throughput mnesia_table_loading_retry_limit mnesia_table_loading_retry_timeout motd_file mqtt \
        net_ticktime node_tags nodename num_acceptors password_hashing_module prevent_startup_if_node_was_reset product \
        prometheus proxy_protocol queue_index_embed_msgs_below queue_leader_locator queue_master_locator queue_types \
        quorum_queue raft ranch_connection_max reverse_dns_lookups runtime_parameters session_max_per_connection shovel \
        socket_writer ssl_allow_poodle_attack ssl_cert_login_from ssl_cert_login_san_index ssl_cert_login_san_type \
        ssl_handshake_timeout ssl_options stomp stream sysmon_handler tcp_listen_options \
        total_memory_available_override_value tracing trust_store vhost_max vhost_restart_strategy \
        vm_memory_calculation_strategy vm_memory_high_watermark vm_memory_high_watermark_paging_ratio web_mqtt web_stomp";

    #[test]
    fn no_family_is_forgotten() {
        let first = |pattern: &'static str| pattern.split('.').next();
        for family in FAMILIES.split_whitespace() {
            assert!(
                rows().any(|row| first(row.pattern) == Some(family)),
                "{family}"
            );
        }
        for row in rows() {
            let family = first(row.pattern).unwrap();
            assert!(
                FAMILIES.split_whitespace().any(|known| known == family),
                "{family}"
            );
        }
    }

    #[test]
    fn every_row_can_be_reached() {
        for (rank, row) in rows().enumerate() {
            // A word that no pattern has, or two for the end.
            let words = row.pattern.split('.').flat_map(|part| match part {
                "$" => vec!["7x"],
                "*" => vec!["7x", "7y"],
                word => vec![word],
            });
            let key = Key(words.map(str::to_owned).collect());
            assert_eq!(
                find(&key).map(|found| found.0),
                Some(rank),
                "{}",
                row.pattern
            );
        }
    }
}
