//! AMQP 0-9-1 on the wire: frames, methods, content headers and field tables, from bytes to values and back.
//! Knows no socket, no clock and no rule of the broker. Checks everything that a peer declares (sizes, lengths,
//! nesting) before other code relies on it, and allocates only for bytes that have arrived.

pub mod content;
pub mod encode;
pub mod frame;
pub mod method;
pub mod properties;
pub mod table;
pub mod table_json;

mod cursor;
mod method_fields;
pub mod method_ids;
mod notation;
mod table_edit;

pub use amq_protocol::protocol::{self, AMQPClass, basic::AMQPProperties};
pub use amq_protocol::types::{
    AMQPType, AMQPValue, FieldArray, FieldTable, LongString, ShortString,
};

pub use content::{
    BASIC_CLASS_ID, ContentHeader, HEADER_MIN, HeaderError, decode_header, encode_header,
};
pub use encode::{
    put_ack, put_body_frame, put_content_header, put_deliver, put_get_ok, put_nack, put_publish,
    put_return, reply_text, short_string,
};
pub use frame::{
    FRAME_END, FRAME_OVERHEAD, Frame, FrameError, FrameKind, FrameRef, Frames, HEARTBEAT,
    encode_method, frame_text, put_frame_header, split,
};
pub use method::{
    DeliverView, Fault, FromBroker, Hot, MethodError, PublishView, decode_from_broker, decode_hot,
    decode_method,
};
pub use properties::{
    PropertiesEdit, PropertiesView, TextProperty, append_headers, decode_properties,
    encode_properties, names_priority,
};
pub use table::{TABLE_DEPTH_MAX, TableError, decode_table, encode_table};
pub use table_edit::{
    put_bool_field, put_encoded_table_field, put_i32_field, put_table_field, put_text_field,
    put_texts_field, put_u32_field, table_with, table_without,
};
pub use table_json::{TableJsonError, table_from_json, table_to_json};

#[cfg(test)]
mod tests;
