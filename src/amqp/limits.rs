//! Limits of client connections that an operator cannot set. Those of frame size, channels, message size and
//! heartbeat are settings.

use std::time::Duration;

/// A connection is closed when its socket takes none of the waiting output for this long, even if heartbeats
/// arrive.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Time that the disk may hold a publisher back before the client is sent `connection.blocked`.
pub(super) const HELD_BACK_UNTOLD_MAX: Duration = Duration::from_secs(1);

/// Smallest and largest buffer for one read of the socket. It grows while reads fill it.
pub(super) const READ_MIN: usize = 4 * 1024;
/// See [`READ_MIN`].
pub(super) const READ_MAX: usize = 256 * 1024;

/// A body of up to this many bytes is copied into the output buffer; a larger one is written from its own
/// memory.
pub(super) const COPY_BODY_MAX: usize = 512;

/// A message of up to this many bytes of properties and body is copied out of the read buffer when it is
/// published. Below some hundred bytes an allocation costs no more than references to the shared buffer, and
/// a buffer of [`READ_MAX`] bytes is a thousand times as large as such a message.
pub(super) const COPY_MESSAGE_MAX: usize = 256;

/// Bytes of read buffer that a run of larger messages may keep alive per byte of its own; a run that would
/// keep more is copied. That is rare, since such a run is less than an eighth of its buffer.
pub(super) const PINNED_PER_BYTE_MAX: usize = 8;

/// Slices given to one vectored write.
pub(super) const WRITE_SLICES: usize = 256;

/// The client is not read while more bytes of output than this wait for its socket: it does not take the
/// replies to its requests.
pub(super) const OUTPUT_PENDING_MAX: usize = 1024 * 1024;

/// Written deliveries become credit again when fewer bytes of output than this wait for the socket.
pub(super) const OUTPUT_LOW_WATER: usize = 64 * 1024;

/// Bytes of deliveries under way to the socket, for all consumers of a connection together; each gets an
/// equal part.
pub(super) const DELIVERY_WINDOW_BYTES: u64 = 2 * 1024 * 1024;
/// The smallest part of one consumer, in bytes.
pub(super) const DELIVERY_WINDOW_BYTES_MIN: u64 = 4 * 1024;
/// Maximum number of deliveries under way to the socket for one consumer, whatever its prefetch.
pub(super) const DELIVERY_WINDOW_MESSAGES: u32 = 2_000;

/// Maximum number of unacked deliveries of one channel. Its consumers get no credit beyond it, even without a
/// prefetch.
pub(super) const UNACKED_PER_CHANNEL_MAX: usize = 2 * 1024 * 1024;

/// Maximum number of consumers on one channel.
pub(super) const CONSUMERS_PER_CHANNEL_MAX: usize = u16::MAX as usize;

/// Maximum number of messages in one run: consecutive publishes of one channel to the same queues.
pub(super) const RUN_MESSAGES_MAX: usize = 1_024;

/// A run with this many bytes of properties and bodies is published immediately.
pub(super) const RUN_BYTES_MAX: usize = 512 * 1024;

/// Number of publish methods that every channel may cache, and the maximum for one channel while the quota
/// lasts.
pub(super) const ROUTES_PER_CHANNEL_MIN: usize = 64;
/// See [`ROUTES_PER_CHANNEL_MIN`].
pub(super) const ROUTES_PER_CHANNEL_MAX: usize = 16 * 1024;
/// The quota: publish methods that all channels together may cache beyond [`ROUTES_PER_CHANNEL_MIN`] each, at
/// some 300 bytes apiece.
pub(super) const ROUTES_MAX: usize = 128 * 1024;

/// Body frames shorter than this are joined, so that a body in many tiny frames needs little more than its
/// bytes.
pub(super) const BODY_PART_MIN: usize = 4 * 1024;

/// A part of a body that is smaller than its read buffer by more than this factor is copied, so that
/// incomplete contents keep at most this many times their bytes alive.
pub(super) const PART_PINS_MAX: usize = 3;

/// Approximate maximum of joined parts of a body, in bytes.
pub(super) const BODY_PIECE_MAX: usize = 256 * 1024;

/// Bytes of incomplete contents of all connections together; beyond that they wait for each other.
pub(super) const ASSEMBLING_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Bytes of incomplete contents on all channels of one connection, or one message if that is more. With the
/// overdraft it may have as much again.
pub(super) const ASSEMBLING_OWN_MAX: usize = 32 * 1024 * 1024;
/// How long a connection may hold the overdraft without sending anything while others wait for it.
pub(super) const OVERDRAFT_IDLE_MAX: Duration = Duration::from_secs(3);
/// How long a connection stays open that has more incomplete contents than the overdraft allows. It is not
/// read any more, so none of them can become complete.
pub(super) const HALF_SENT_IDLE_MAX: Duration = Duration::from_secs(30);

/// Maximum bytes of messages, and number of publishes and acknowledgements, of one open transaction.
pub(super) const TX_BYTES_MAX: usize = 256 * 1024 * 1024;
/// See [`TX_BYTES_MAX`].
pub(super) const TX_ENTRIES_MAX: usize = 1_000_000;

/// Bytes of replies that one requester of direct reply-to has not read; a channel that sends it more waits. A
/// client that reads nothing before it has written everything must not send itself more than this.
pub(super) const REPLIES_PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A smaller reply counts for this many bytes.
pub(super) const REPLY_BYTES_MIN: usize = 512;

/// Characters of a consumer's unreadable argument that the log shows.
pub(super) const ARGUMENT_LOGGED_MAX: usize = 200;

/// Channel errors of one connection that are logged at level info; further ones at level debug.
pub(super) const CHANNEL_ERRORS_LOGGED_MAX: u32 = 10;

/// Log lines about refused peers in each [`REFUSALS_LOGGED_EVERY`], since any peer can cause them.
pub(super) const REFUSALS_LOGGED_MAX: u64 = 20;
/// See [`REFUSALS_LOGGED_MAX`].
pub(super) const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(10);

/// Rounds, and bytes read in them, after which a busy connection lets other tasks run. The bytes are one or
/// two milliseconds of work. Fewer bytes would make the runs shorter that queues get from it.
pub(super) const ROUNDS_BEFORE_YIELD: u32 = 8;
/// See [`ROUNDS_BEFORE_YIELD`].
pub(super) const BYTES_BEFORE_YIELD: usize = 768 * 1024;

/// Time between the periodic checks of a connection without heartbeats.
pub(super) const TICK_WITHOUT_HEARTBEAT: Duration = Duration::from_secs(60);

/// Maximum age of the figures that operators see of a busy connection.
pub(super) const STATUS_EVERY: Duration = Duration::from_millis(50);
