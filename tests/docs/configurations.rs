//! Configuration files in the pages: the binary accepts each as it stands.

use std::fs;
use std::process::Command;

use crate::pages::{Kind, pages};

#[test]
fn every_configuration_file_in_the_pages_is_valid() {
    for block in pages().iter().flat_map(|page| page.blocks()) {
        let (file, option) = match block.kind {
            Kind::Configuration => ("leveret.toml", "--config"),
            Kind::RabbitConf => ("rabbitmq.conf", "--rabbitmq-conf"),
            Kind::Shell | Kind::ShellBy(_) | Kind::Python | Kind::Shown => continue,
        };
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(file);
        fs::write(&path, &block.text).expect("a file");
        let checked = Command::new(env!("CARGO_BIN_EXE_leveret"))
            .arg("check-config")
            .arg(option)
            .arg(&path)
            .output()
            .expect("the binary");
        assert!(
            checked.status.success(),
            "{}: {}",
            block.place,
            String::from_utf8_lossy(&checked.stderr)
        );
    }
}
