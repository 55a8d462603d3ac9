//! Limits of the links.

use std::time::Duration;

/// Maximum time to connect to a node, without the handshake.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// Maximum time of a handshake, for both sides.
pub(super) const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// How long the lanes of a process that is gone may take to end.
pub(super) const LANES_END_WITHIN: Duration = Duration::from_millis(200);
/// Maximum bytes of a node's account of itself.
pub(super) const ACCOUNT_MAX: usize = 1024;
/// Maximum bytes of a node's name.
pub(super) const NAME_MAX: usize = 255;
/// Minimum bytes of a shared secret: shorter ones can be guessed from one recorded handshake.
pub(super) const SECRET_MIN: usize = 16;
/// Clocks of two nodes may differ by this.
pub(super) const CLOCKS_APART_MAX: Duration = Duration::from_secs(1);

/// Maximum number of connections that have not proven yet that they belong to the set. One address may have half.
pub(super) const STRANGERS_MAX: usize = 128;
/// Maximum number of lanes of other nodes. Streams count where they lead: passed clients at their front doors.
pub(super) const LINKS_MAX: usize = 262_144;
/// Maximum number of connections that are opened to one node at a time: well below a stranger's share there.
pub(super) const OPENING_MAX: usize = 16;
/// A refusal is logged once per address and time.
pub(super) const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(60);
/// Maximum number of addresses whose refusals are remembered.
pub(super) const REFUSED_ADDRESSES_MAX: usize = 1024;

/// Maximum bytes of one request or reply: a batch with the largest message, of 512 MiB.
pub const FRAME_MAX: usize = 576 * 1024 * 1024;
/// Maximum bytes of the header of a stream.
pub(super) const OPEN_MAX: usize = 64 * 1024;
/// Maximum number of lanes to other nodes.
pub(super) const LANES_MAX: usize = 256;
/// Maximum number of requests to a node, on one lane, without an answer.
pub(super) const REQUESTS_MAX: usize = 1024;
/// Maximum bytes of these requests; a larger one goes alone.
pub(super) const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Maximum bytes of requests that wait for this node's answers, per connection; a larger one is read alone.
pub(super) const RECEIVED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Maximum number of requests of one lane that this node handles together.
pub(super) const TOGETHER_MAX: usize = 256;
/// Maximum number of answers that wait for the socket.
pub(super) const ANSWERS_MAX: usize = 64;
/// Maximum number of frames that one write gathers.
pub(super) const GATHERED_MAX: usize = 64;
/// Maximum bytes that are read before they are sorted.
pub(super) const READ_BUFFER: usize = 64 * 1024;
/// A read buffer with less room than this is followed by another one.
pub(super) const READ_BUFFER_REST: usize = 4 * 1024;

/// A lane without requests closes its connection.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(60);
/// Pauses after a failed attempt: the first, and the longest.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(20);
pub(super) const PAUSE_MAX: Duration = Duration::from_millis(500);
/// The system ends a connection whose peer takes nothing for this long.
pub(super) const SILENT_MAX: Duration = Duration::from_secs(3);
/// The system asks a peer that says nothing whether it is there.
pub(super) const ASKED_AFTER: Duration = Duration::from_secs(5);
