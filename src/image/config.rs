//! The image configuration: what the image is for, what to start, and the digests of its layers.
//!
//! Docker writes `null` where OCI leaves a field out; both are empty here. Names of fields are taken in any case, and a
//! command that is one text as one word, as Docker takes both. Text is kept exactly as it is: the guest
//! interprets it. Fields of Windows (`ArgsEscaped`) and of builders (`OnBuild`) are not read.
//!
//! OCI image-spec, config.md; Docker image spec v1.2 for `Hostname`, `Healthcheck`.

use crate::escape::escape;
use crate::guest::spec::{Healthcheck, Process};
use crate::image::json;
use crate::image::{Digest, DocumentError, MAX_LAYERS, Platform, parse_json};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Largest configuration, in bytes.
pub const MAX_CONFIG: u64 = 20 << 20;

/// How the image wants to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// `user`, `uid`, `user:group`, `uid:gid`, `uid:group`, `user:gid`, or empty.
    #[serde(deserialize_with = "json::or_default")]
    pub user: String,
    /// Each usually `NAME=VALUE`, in the image's order.
    #[serde(deserialize_with = "json::texts")]
    pub env: Vec<String>,
    /// The fixed part of the command.
    #[serde(deserialize_with = "json::words")]
    pub entrypoint: Vec<String>,
    /// The rest of the command.
    #[serde(deserialize_with = "json::words")]
    pub cmd: Vec<String>,
    /// Empty is `/`.
    #[serde(deserialize_with = "json::or_default")]
    pub working_dir: String,
    /// A name or a number.
    pub stop_signal: Option<String>,
    /// Paths that want storage of their own, sorted.
    #[serde(deserialize_with = "json::name_set")]
    pub volumes: Vec<String>,
    /// `PORT/PROTOCOL` or `PORT`, sorted.
    #[serde(deserialize_with = "json::name_set")]
    pub exposed_ports: Vec<String>,
    /// Names and remarks.
    #[serde(deserialize_with = "json::text_map")]
    pub labels: BTreeMap<String, String>,
    /// Docker's health check, without the shell; see [`Config::health`].
    #[serde(deserialize_with = "healthcheck")]
    pub healthcheck: Option<Healthcheck>,
    /// What Docker's builder gave lines to, and its daemon a check's.
    #[serde(deserialize_with = "json::words")]
    pub shell: Vec<String>,
    /// Docker's host name; almost always empty.
    #[serde(deserialize_with = "json::or_default")]
    pub hostname: String,
}

impl Config {
    /// The health check with what its line is given to.
    pub fn health(&self) -> Option<Healthcheck> {
        self.healthcheck.clone().map(|check| Healthcheck { shell: self.shell.clone(), ..check })
    }

    /// What it starts.
    pub fn process(&self) -> Process {
        Process {
            entrypoint: self.entrypoint.clone(),
            cmd: self.cmd.clone(),
            env: self.env.clone(),
            user: self.user.clone(),
            working_dir: self.working_dir.clone(),
            stop_signal: self.stop_signal.clone(),
            ..Process::default()
        }
    }
}

/// As Docker writes it, `null` included.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawHealthcheck {
    #[serde(deserialize_with = "json::texts")]
    test: Vec<String>,
    #[serde(deserialize_with = "json::or_default")]
    interval: i64,
    #[serde(deserialize_with = "json::or_default")]
    timeout: i64,
    #[serde(deserialize_with = "json::or_default")]
    start_period: i64,
    #[serde(deserialize_with = "json::or_default")]
    start_interval: i64,
    #[serde(deserialize_with = "json::or_default")]
    retries: i64,
}

fn healthcheck<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Healthcheck>, D::Error> {
    let raw = Option::<RawHealthcheck>::deserialize(deserializer)?;
    Ok(raw.map(|RawHealthcheck { test, interval, timeout, start_period, start_interval, retries }| Healthcheck {
        test,
        interval,
        timeout,
        start_period,
        start_interval,
        retries,
        shell: Vec::new(),
    }))
}

/// The parsed configuration file.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// How to run it.
    pub config: Config,
    /// What it is for; parts that are missing are empty.
    pub platform: Platform,
    /// When it was made, in RFC 3339 as the image has it.
    pub created: Option<String>,
    /// Digests of the uncompressed layers, lowest first; at most [`MAX_LAYERS`].
    pub diff_ids: Vec<Digest>,
    /// Steps in the history that made a layer, when there is a history.
    pub history_layers: Option<usize>,
    /// The steps that made the image, in their order; tools that repack images may leave it out.
    pub history: Vec<Step>,
}

/// One step of an image's history. Whoever made the image wrote it; nothing checks it. Not escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Step {
    /// The command.
    #[serde(deserialize_with = "json::or_default")]
    pub created_by: String,
    /// A remark.
    #[serde(deserialize_with = "json::or_default")]
    pub comment: String,
    /// It changed the configuration alone.
    #[serde(deserialize_with = "json::or_default")]
    pub empty_layer: bool,
}

/// Why a configuration is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON, or too large.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// No `rootfs`.
    #[error("no rootfs with diff_ids in it")]
    NoRootfs,
    /// `rootfs.type` is not `layers`.
    #[error("unsupported rootfs type \"{}\"", escape(.0.as_bytes()))]
    RootfsType(String),
    /// The manifest and the configuration disagree.
    #[error("{layers} layers but {diff_ids} diff_ids")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(default)]
    created: Option<String>,
    #[serde(default, deserialize_with = "json::or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "json::or_default")]
    os: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default, deserialize_with = "json::or_default")]
    config: Config,
    #[serde(default)]
    rootfs: Option<RawRootfs>,
    #[serde(default, deserialize_with = "json::list")]
    history: Vec<Step>,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(rename = "type", default, deserialize_with = "json::or_default")]
    kind: String,
    #[serde(default, deserialize_with = "json::optional_list")]
    diff_ids: Option<Vec<Digest>>,
}

/// Parses a configuration file of an image with `layers` layers.
pub fn parse(bytes: &[u8], layers: usize) -> Result<ConfigFile, ConfigError> {
    let raw: RawFile = parse_json(bytes).map_err(DocumentError::Json)?;
    let rootfs = raw.rootfs.ok_or(ConfigError::NoRootfs)?;
    if rootfs.kind != "layers" {
        return Err(ConfigError::RootfsType(rootfs.kind));
    }
    let diff_ids = match rootfs.diff_ids {
        Some(diff_ids) => diff_ids,
        // Go writes an empty list as null.
        None if layers == 0 => Vec::new(),
        None => return Err(ConfigError::NoRootfs),
    };
    if diff_ids.len() != layers {
        return Err(ConfigError::LayerCount { layers, diff_ids: diff_ids.len() });
    }
    if layers > MAX_LAYERS {
        return Err(DocumentError::TooManyLayers(layers).into());
    }
    let made_layers = raw.history.iter().filter(|step| !step.empty_layer).count();
    Ok(ConfigFile {
        config: raw.config,
        platform: Platform::new(&raw.os, &raw.architecture, raw.variant.as_deref()),
        created: raw.created,
        diff_ids,
        history_layers: (!raw.history.is_empty()).then_some(made_layers),
        history: raw.history,
    })
}
