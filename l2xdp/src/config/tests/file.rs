//! Files that are no configuration at all, and the places in the messages.

use super::super::{Config, ConfigError};
use super::{SAMPLE, with_line};
use std::path::{Path, PathBuf};

fn message(text: &str) -> String {
    Config::parse("l2xdp.toml", text).expect_err("accepted").to_string()
}

/// A file of its own for a test, gone when dropped.
struct File(PathBuf);

impl File {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("l2xdp-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }

    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.0)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_syntax_error_has_a_line_and_a_column() {
    let text = with_line(16, "port = \"eth1\", vlan = 100");
    let error = message(&text);
    assert!(error.starts_with("l2xdp.toml:16:14: this is not TOML: "), "{error}");
}

#[test]
fn a_key_that_stands_twice() {
    let error = message(&with_line(3, "tunnel_id = 1000"));
    assert!(error.starts_with("l2xdp.toml:3:1: this is not TOML: duplicate key"), "{error}");
}

#[test]
fn columns_count_characters() {
    let text = "tunnel = [{ 'ä' = 1, ttl = 0 }]\r\n";
    let error = message(text);
    assert!(error.contains("l2xdp.toml:1:28: tunnel.ttl: cannot be 0; "), "{error}");
}

#[test]
fn all_problems_of_a_file_in_its_order() {
    let text = with_line(2, "tunnel_id = 0\nttl = 0").replace("mss = \"auto\"", "mss = 1\nspeed = 9");
    let error = message(&text);
    let lines: Vec<_> = error.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(lines, ["l2xdp.toml:2:13", "l2xdp.toml:3:7", "l2xdp.toml:20:7", "l2xdp.toml:21:1"], "{error}");
}

#[test]
fn a_file_is_loaded() {
    assert_eq!(File::new("sample", SAMPLE.as_bytes()).load(), Ok(super::accept(SAMPLE)));
}

#[test]
fn a_file_that_is_not_there() {
    let error = Config::load(Path::new("/nonexistent/l2xdp.toml")).unwrap_err().to_string();
    let expected = "/nonexistent/l2xdp.toml: cannot be read: No such file or directory";
    assert!(
        error.starts_with(expected) && error.ends_with("; check the path and its permissions"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_utf8() {
    let file = File::new("latin1", b"# 1\n# caf\xe9\n");
    let expected = format!("{}:2:6: this byte is not UTF-8; save the file as UTF-8", file.0.display());
    assert_eq!(file.load().unwrap_err().to_string(), expected);
}

#[test]
fn any_prefix_of_a_file_is_read_without_panic() {
    for end in 0..SAMPLE.len() {
        _ = Config::parse("l2xdp.toml", &SAMPLE[..end]);
    }
}
