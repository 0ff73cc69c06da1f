//! Configs.

use crate::border;
use crate::operation::{Operation, Watch, Work, started, watched};
use crate::options::{self, Options};
use crate::result::Outcome;
use crate::text::{borrowed, c_string};
use debmock::config::Loader;
use debmock::{ErrorKind, Result};
use std::ffi::{CString, c_char};
use std::sync::OnceLock;

/// What the user wants: suite, architecture, archives, keyrings, packages, policies. Immutable:
/// any number of threads may use it.
#[derive(Debug)]
pub struct Config {
    pub(crate) config: debmock::config::Config,
    name: CString,
    distribution: CString,
    suite: CString,
    architecture: CString,
    warnings: Vec<(CString, Option<CString>)>,
    json: OnceLock<CString>,
}

/// Which config to make. At most one of name, path and toml says where it comes from; with none of
/// them it is the one for this host: its own suite if it is Debian or Ubuntu, else Debian stable.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct ConfigOptions {
    /// sizeof(debmock_config_options).
    pub size: usize,
    /// A name that debmock_configs tells; or the name of what toml describes, which is "custom" if
    /// it is NULL.
    pub name: *const c_char,
    /// A TOML file.
    pub path: *const c_char,
    /// TOML text.
    pub toml: *const c_char,
    /// KEY=VALUE strings that come over everything else, ended by NULL; may be NULL.
    pub overrides: *const *const c_char,
}

// SAFETY: a size and pointers.
unsafe impl Options for ConfigOptions {}

unsafe fn load(options: &ConfigOptions) -> Result<debmock::config::Config> {
    // SAFETY: as for every entry point; this is the body of two of them.
    unsafe {
        let overrides = border::texts(options.overrides, "overrides")?;
        let loader = Loader::new().options(&overrides);
        let name = border::optional_text(options.name, "name")?;
        let path = border::optional_path(options.path);
        let toml = border::optional_text(options.toml, "toml")?;
        match (name, path, toml) {
            (None, None, None) => loader.load_default(),
            (Some(name), None, None) => loader.load(name),
            (None, Some(path), None) => loader.load_file(&path),
            (name, None, Some(text)) => loader.load_str(name.unwrap_or("custom"), text),
            _ => Err(debmock::Error::new(
                ErrorKind::Usage,
                "a config comes from a name, a path or a text, and from one of them only",
            )),
        }
    }
}

fn wrap(config: debmock::config::Config) -> *mut Config {
    let warning = |warning: &debmock::config::Warning| {
        (c_string(&warning.message), warning.hint.as_ref().map(c_string))
    };
    border::boxed(Config {
        name: c_string(&config.name),
        distribution: c_string(config.distribution.name()),
        suite: c_string(config.suite.as_str()),
        architecture: c_string(config.architecture.as_str()),
        warnings: config.warnings.iter().map(warning).collect(),
        json: OnceLock::new(),
        config,
    })
}

/// Loads a config by its name ("debian-bookworm"), or by the path of a file if there is a slash in
/// it or it ends in ".toml". Free it with debmock_config_free.
///
/// Fails with DEBMOCK_ERR_CONFIG if there is none, or if something in it is wrong.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_config_load(
    name: *const c_char,
    config: *mut *mut Config,
    error: *mut *mut crate::error::Error,
) -> i32 {
    border!(error, {
        let slot = border::out(config, std::ptr::null_mut(), "config")?;
        *slot = wrap(Loader::new().load(border::text(name, "name")?)?);
        Ok(())
    })
}

/// Makes a config of whatever options say; NULL stands for none: the config for this host. Free it
/// with debmock_config_free.
///
/// Fails with DEBMOCK_ERR_CONFIG if there is none, or if something in it is wrong.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_config_new(
    options: *const ConfigOptions,
    config: *mut *mut Config,
    error: *mut *mut crate::error::Error,
) -> i32 {
    border!(error, {
        let slot = border::out(config, std::ptr::null_mut(), "config")?;
        *slot = wrap(load(&options::read(options, "options")?)?);
        Ok(())
    })
}

/// Its name. Belongs to the config. NULL for NULL, as with all that follow.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_config_name(config: *const Config) -> *const c_char {
    border!(std::ptr::null(); { borrowed(config.as_ref().map(|config| &config.name)) })
}

/// Its distribution: "debian", "ubuntu" or another. Belongs to the config.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_config_distribution(config: *const Config) -> *const c_char {
    border!(std::ptr::null(); { borrowed(config.as_ref().map(|config| &config.distribution)) })
}

/// Its suite. Belongs to the config.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_config_suite(config: *const Config) -> *const c_char {
    border!(std::ptr::null(); { borrowed(config.as_ref().map(|config| &config.suite)) })
}

/// Debian's name of its architecture. Belongs to the config.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_config_architecture(config: *const Config) -> *const c_char {
    border!(std::ptr::null(); { borrowed(config.as_ref().map(|config| &config.architecture)) })
}

/// Something that the user should know about the config, counted from 0; NULL behind the last.
/// Belongs to the config.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_config_warning(
    config: *const Config,
    index: usize,
) -> *const c_char {
    border!(std::ptr::null(); {
        let warning = config.as_ref().and_then(|config| config.warnings.get(index));
        borrowed(warning.map(|(message, _)| message))
    })
}

/// What to do about that warning; NULL if nobody knows. Belongs to the config.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_config_warning_hint(
    config: *const Config,
    index: usize,
) -> *const c_char {
    border!(std::ptr::null(); {
        let warning = config.as_ref().and_then(|config| config.warnings.get(index));
        borrowed(warning.and_then(|(_, hint)| hint.as_ref()))
    })
}

/// Every key with its value and where that comes from, as JSON: what `debmock config show --json`
/// prints. Belongs to the config.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_config_json(config: *const Config) -> *const c_char {
    border!(std::ptr::null(); {
        borrowed(config.as_ref().map(|config| {
            config.json.get_or_init(|| c_string(config.config.to_json().to_string()))
        }))
    })
}

/// Frees a config and sets the variable to NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_config_free(config: *mut *mut Config) {
    border!((); { border::free(config) })
}

fn configs() -> Work {
    Box::new(|_| Ok(Outcome::configs(&Loader::new().list()?)))
}

/// Which configs there are: the JSON of the result has their names, where each is described and
/// what it extends.
///
/// Fails with DEBMOCK_ERR_CONFIG if a directory of configs cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_configs(
    watch: *const Watch,
    result: *mut *mut Outcome,
    error: *mut *mut crate::error::Error,
) -> i32 {
    border!(error, { watched(configs(), watch, result) })
}

/// Starts debmock_configs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn debmock_configs_start(
    operation: *mut *mut Operation,
    error: *mut *mut crate::error::Error,
) -> i32 {
    border!(error, { started(configs(), operation) })
}
