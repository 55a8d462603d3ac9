//! The bounds of one client connection, each with a name. Those that an operator may set (frame size, channels,
//! message size, heartbeat) are in the configuration; these are the broker's own.

use std::time::Duration;

/// How long a socket may take none of the output that waits for it; then its connection is given up, although
/// heartbeats may come from the other side.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Smallest and largest space offered to one read of the socket. It grows while reads fill it.
pub(super) const READ_MIN: usize = 4 * 1024;
/// See [`READ_MIN`].
pub(super) const READ_MAX: usize = 256 * 1024;

/// A body of up to this many bytes is copied into the output buffer; a larger one is written from where it is.
pub(super) const COPY_BODY_MAX: usize = 512;

/// A message of up to this many bytes of properties and body is copied out of the read buffer when it is published.
/// Below some hundred bytes an allocation costs no more than the references to the shared buffer, and [`READ_MAX`] would
/// be a thousand times what such a message needs while it waits.
pub(super) const COPY_MESSAGE_MAX: usize = 256;

/// How many bytes of read buffer a run of larger messages may keep alive per byte of its own; above, it is copied. Few
/// messages of a read are copied so, since it happens only to a run that is less than an eighth of its buffer.
pub(super) const PINNED_PER_BYTE_MAX: usize = 8;

/// Slices given to one vectored write.
pub(super) const WRITE_SLICES: usize = 256;

/// Output that waits for the socket above which nothing more is read from the peer: its requests have
/// answers that it does not take.
pub(super) const OUTPUT_PENDING_MAX: usize = 1024 * 1024;

/// Output that waits for the socket below which written deliveries are given back as credit.
pub(super) const OUTPUT_LOW_WATER: usize = 64 * 1024;

/// Room for deliveries that all consumers of a connection share, in bytes; each gets its part of it.
pub(super) const DELIVERY_WINDOW_BYTES: u64 = 2 * 1024 * 1024;
/// The least that one consumer may have under way, however many there are.
pub(super) const DELIVERY_WINDOW_BYTES_MIN: u64 = 4 * 1024;
/// Deliveries that one consumer may have under way to the socket, whatever its prefetch.
pub(super) const DELIVERY_WINDOW_MESSAGES: u32 = 2_000;

/// Deliveries of one channel that wait for an acknowledgement. Its consumers are parked at this number,
/// although the client asked for no limit.
pub(super) const UNACKED_PER_CHANNEL_MAX: usize = 2 * 1024 * 1024;

/// Consumers on one channel.
pub(super) const CONSUMERS_PER_CHANNEL_MAX: usize = u16::MAX as usize;

/// Messages of one run: publishes of one channel with the same route that go to the queue together.
pub(super) const RUN_MESSAGES_MAX: usize = 1_024;

/// Bytes of properties and bodies in one run.
pub(super) const RUN_BYTES_MAX: usize = 512 * 1024;

/// Routes that every channel may remember, and the most that one may while there is room.
pub(super) const ROUTES_PER_CHANNEL_MIN: usize = 64;
/// See [`ROUTES_PER_CHANNEL_MIN`].
pub(super) const ROUTES_PER_CHANNEL_MAX: usize = 16 * 1024;
/// Routes that all channels together may remember beyond [`ROUTES_PER_CHANNEL_MIN`] each: some 300 bytes apiece.
pub(super) const ROUTES_MAX: usize = 128 * 1024;

/// Body frames shorter than this are joined, so that a body in many tiny frames costs no more than its bytes.
pub(super) const BODY_PART_MIN: usize = 4 * 1024;

/// A part of a body that is smaller than its read buffer by more than this factor is copied, so that contents that are
/// half received keep no more memory alive than this many times their bytes.
pub(super) const PART_PINS_MAX: usize = 3;

/// Parts of a body that are joined make pieces of up to about this many bytes.
pub(super) const BODY_PIECE_MAX: usize = 256 * 1024;

/// Content that all connections together may have half received; those that have more to send wait.
pub(super) const ASSEMBLING_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Content that all channels of one connection may have half received before it waits, or one message if that is
/// more. When its turn has come it may have as much again.
pub(super) const ASSEMBLING_OWN_MAX: usize = 32 * 1024 * 1024;
/// How long a connection in its turn is waited for while it sends nothing and others wait.
pub(super) const TURN_IDLE_MAX: Duration = Duration::from_secs(3);
/// How long a connection stays open that has more half sent than its turn allows: nothing more can come of it.
pub(super) const HELD_BACK_MAX: Duration = Duration::from_secs(30);

/// Bytes of messages, and number of publishes and acknowledgements, that one open transaction may hold.
pub(super) const TX_BYTES_MAX: usize = 256 * 1024 * 1024;
/// See [`TX_BYTES_MAX`].
pub(super) const TX_ENTRIES_MAX: usize = 1_000_000;

/// Bytes of replies of direct reply-to that wait for one requester to read them; whoever sends it another one waits as
/// well. A client that reads nothing before it has written everything must not send more than this to itself.
pub(super) const REPLIES_PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The least that a reply counts for.
pub(super) const REPLY_BYTES_MIN: usize = 512;

/// Routing keys in the headers `CC` and `BCC` of one message. RabbitMQ has no such limit, but its largest header frame
/// has no room for more than 26,207.
pub(super) const MORE_KEYS_MAX: usize = 32 * 1024;

/// Characters of a consumer's unreadable argument that the log shows.
pub(super) const ARGUMENT_LOGGED_MAX: usize = 200;

/// Channel errors of one connection that the log shows at level info; further ones are for level debug.
pub(super) const CHANNEL_ERRORS_LOGGED_MAX: u32 = 10;

/// Log lines about peers that are not let in, in each [`REFUSALS_LOGGED_EVERY`]: anyone who can connect brings them about.
pub(super) const REFUSALS_LOGGED_MAX: u64 = 20;
/// See [`REFUSALS_LOGGED_MAX`].
pub(super) const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(10);

/// How often a connection goes on with what has come in the meantime, and how many bytes it may read in that, before
/// others get their turn. The bytes are one or two milliseconds' work, which is
/// what others wait for each that floods; with fewer, those that it publishes for get shorter runs.
pub(super) const ROUNDS_BEFORE_YIELD: u32 = 8;
/// See [`ROUNDS_BEFORE_YIELD`].
pub(super) const BYTES_BEFORE_YIELD: usize = 768 * 1024;

/// How often a connection without heartbeats looks after itself.
pub(super) const TICK_WITHOUT_HEARTBEAT: Duration = Duration::from_secs(60);

/// How old the figures that operators see may be while a connection is busy.
pub(super) const STATUS_EVERY: Duration = Duration::from_millis(50);
