//! Checks arguments before the broker is asked, as rabbitmqctl does: thresholds of memory and disk, metadata. Pure.

use super::exit_code::{EX_DATAERR, EX_USAGE};
use super::invocation::Invocation;
use super::verbs::Verb;
use crate::config::{parse_bytes, parse_fraction};
use crate::model::arguments::QueueKind;

/// Why the arguments of an invocation are invalid, with the exit code; `None` if they are valid.
pub(super) fn check(verb: Verb, invocation: &Invocation) -> Option<(u8, String)> {
    let args: Vec<&str> = invocation.args.iter().map(String::as_str).collect();
    let bad = || Some((EX_DATAERR, "Bad argument.".to_owned()));
    match (verb, args.as_slice()) {
        (Verb::SetVmMemoryHighWatermark, ["absolute", value]) if parse_bytes(value).is_some() => {
            None
        }
        (Verb::SetVmMemoryHighWatermark, [value]) if *value != "absolute" => match value
            .parse::<f64>()
        {
            Ok(_) if parse_fraction(value).is_some() => None,
            Ok(_) => Some((
                EX_DATAERR,
                "Bad argument: The threshold should be a fraction between 0.0 and 1.0".to_owned(),
            )),
            Err(_) => bad(),
        },
        (Verb::SetDiskFreeLimit, ["mem_relative", value])
            if value.parse::<f64>().is_ok_and(|v| v >= 0.0) =>
        {
            None
        }
        (Verb::SetDiskFreeLimit, [value]) if parse_bytes(value).is_some() => None,
        (Verb::SetVmMemoryHighWatermark | Verb::SetDiskFreeLimit, _) => bad(),
        (Verb::CheckPortListener, [port]) if port.parse::<u16>().is_ok_and(|port| port > 0) => None,
        (Verb::CheckPortListener, _) => Some((
            EX_DATAERR,
            "Bad argument: Argument must be a positive integer".to_owned(),
        )),
        (Verb::MemoryBreakdown, _) => unsupported_unit(invocation, &["bytes", "mb", "gb"]),
        (Verb::CheckCertificateExpiration, _) => {
            unsupported_unit(invocation, &["days", "weeks", "months", "years"])
        }
        (Verb::UpdateVhostMetadata, _) if invocation.options.is_empty() => {
            Some((EX_USAGE, "not enough arguments.".to_owned()))
        }
        (Verb::UpdateVhostMetadata, _) => {
            let kind = invocation.options.get("default-queue-type")?;
            let known = QueueKind::ALL.iter().any(|known| known.as_str() == kind);
            let text = format!(
                "Bad argument: Default queue type must be one of: quorum, stream, classic. Provided: {kind}"
            );
            (!known).then_some((EX_DATAERR, text))
        }
        _ => None,
    }
}

/// The refusal of a unit that is none of these.
fn unsupported_unit(invocation: &Invocation, units: &[&str]) -> Option<(u8, String)> {
    let unit = invocation.options.get("unit")?;
    let text = format!(
        "\"unit '{unit}' is not supported. Please use one of: {}\"",
        units.join(", ")
    );
    (!units.contains(&unit.as_str())).then_some((EX_USAGE, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::test_support::invocation;

    #[test]
    fn thresholds_are_checked_before_the_broker_is_asked() {
        for (line, valid) in [
            ("set_vm_memory_high_watermark 0.4", true),
            ("set_vm_memory_high_watermark 0", true),
            ("set_vm_memory_high_watermark absolute 1GB", true),
            ("set_vm_memory_high_watermark 2", false),
            ("set_vm_memory_high_watermark -1", false),
            ("set_vm_memory_high_watermark abc", false),
            ("set_vm_memory_high_watermark absolute", false),
            ("set_vm_memory_high_watermark absolute x", false),
            ("set_disk_free_limit 50MB", true),
            ("set_disk_free_limit mem_relative 1.0", true),
            ("set_disk_free_limit mem_relative x", false),
            ("set_disk_free_limit garbage", false),
            ("set_disk_free_limit 1 2", false),
        ] {
            let (verb, invocation) = invocation(line);
            let refusal = check(verb, &invocation);
            assert_eq!(refusal.is_none(), valid, "{line}: {refusal:?}");
            assert!(refusal.is_none_or(|(exit, _)| exit == EX_DATAERR));
        }
    }
}
