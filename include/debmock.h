/* debmock: creates, caches and enters isolated Debian build environments and builds packages in
 * them.
 *
 * OWNERSHIP. Handles are opaque. What a function gives through a pointer to a handle belongs to the
 * caller, who frees it with the debmock_…_free of its type: that takes the address of the variable,
 * sets it to NULL, and does nothing if it is NULL already. Handles may be freed in any order: each
 * keeps alive what it needs. Strings and data that functions return belong to the handle that they
 * were asked of, live as long as it does and never change. What the caller passes is copied or only
 * used during the call, the user_data of a callback excepted. Strings are UTF-8, paths are bytes.
 *
 * ERRORS. Functions that can fail return DEBMOCK_OK or one of DEBMOCK_ERR_…. Their last argument may
 * be NULL; otherwise it is the address of a variable that becomes NULL on success, and a handle that
 * says what failed, why, and what to do about it on failure: free it before its variable is used
 * again. Variables for other handles become NULL on failure. NULL where something must be gives
 * DEBMOCK_ERR_USAGE. Functions that cannot fail take NULL for a handle and give 0, false or NULL.
 * Every call may also fail with DEBMOCK_ERR_UNEXPECTED, DEBMOCK_ERR_IO, DEBMOCK_ERR_NO_SPACE and
 * DEBMOCK_ERR_HELPER. No panic and no exception ever crosses.
 *
 * OPTIONS. Structs of options begin with their own size: set size to sizeof of the struct and
 * everything else to zero but what you want. Zero always means the default. NULL stands for a struct
 * of zeros, except where a member is needed. A library that is older than the program refuses
 * options that it does not know, unless they are zero.
 *
 * THREADS. Any number of threads may use any handle at the same time; to free one, or to pass the
 * same variable twice at a time, is the one thing that must not happen meanwhile. Long calls work in
 * a thread of their own, which has ended when the call, or debmock_operation_wait, returns. Callbacks
 * run in the thread that made the call. No signal handler, mask, working directory, umask,
 * environment or child of the process is ever changed or waited for.
 *
 * PROCESSES. After fork, a handle belongs to the process that made it: in the child every call that
 * can fail gives DEBMOCK_ERR_FORKED, and freeing a handle only closes its descriptors. All
 * descriptors are close-on-exec.
 *
 * LONG CALLS come in two forms. The blocking one takes a debmock_watch, which may be NULL. The one
 * whose name ends in _start gives an operation at once: poll debmock_operation_fd, read
 * debmock_operation_next_event, and take the result with debmock_operation_wait. It fails only for
 * arguments that make no sense and when there is no thread to be had. Operations on one buildroot
 * wait for each other.
 *
 * UNITS. Sizes are bytes; durations are seconds as floating-point numbers, except where a name ends
 * in _ms; times are seconds since 1970.
 */

#ifndef DEBMOCK_H
#define DEBMOCK_H

/* Generated from the crate debmock-ffi; do not edit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The call succeeded.
 */
#define DEBMOCK_OK 0

/**
 * Anything that no other status describes; also an error of debmock itself.
 */
#define DEBMOCK_ERR_UNEXPECTED 1

/**
 * A configuration file, option or host configuration that cannot be used.
 */
#define DEBMOCK_ERR_CONFIG 2

/**
 * A call with arguments that make no sense.
 */
#define DEBMOCK_ERR_USAGE 3

/**
 * An archive that cannot be reached or whose data do not fit together.
 */
#define DEBMOCK_ERR_ARCHIVE 4

/**
 * A signature that is missing, wrong, expired or from an unknown key.
 */
#define DEBMOCK_ERR_SIGNATURE 5

/**
 * Dependencies that cannot be satisfied.
 */
#define DEBMOCK_ERR_DEPENDENCY 6

/**
 * apt or dpkg failed inside a root.
 */
#define DEBMOCK_ERR_PACKAGE 7

/**
 * The package did not build.
 */
#define DEBMOCK_ERR_BUILD 8

/**
 * A time limit ran out.
 */
#define DEBMOCK_ERR_TIMEOUT 9

/**
 * A buildroot that is missing, damaged or cannot be changed.
 */
#define DEBMOCK_ERR_BUILDROOT 10

/**
 * Another process holds the buildroot and the time to wait ran out.
 */
#define DEBMOCK_ERR_LOCKED 11

/**
 * A session of this process is open on the buildroot.
 */
#define DEBMOCK_ERR_BUSY 12

/**
 * The result directory cannot be written.
 */
#define DEBMOCK_ERR_RESULT_DIR 13

/**
 * This machine or user cannot have the isolation that was asked for.
 */
#define DEBMOCK_ERR_ISOLATION 14

/**
 * The first layer could not be made.
 */
#define DEBMOCK_ERR_BOOTSTRAP 15

/**
 * A source package that cannot be used: missing, damaged or hostile.
 */
#define DEBMOCK_ERR_SOURCE 16

/**
 * The caller cancelled.
 */
#define DEBMOCK_ERR_CANCELLED 17

/**
 * A handle was used in a forked child of the process that made it.
 */
#define DEBMOCK_ERR_FORKED 18

/**
 * The operating system refused an operation on a file or descriptor.
 */
#define DEBMOCK_ERR_IO 19

/**
 * The device is full.
 */
#define DEBMOCK_ERR_NO_SPACE 20

/**
 * The store or its state is damaged or cannot be used.
 */
#define DEBMOCK_ERR_STORE 21

/**
 * The helper program is missing, of another build, or broke the protocol.
 */
#define DEBMOCK_ERR_HELPER 22

/**
 * A command inside the root could not be started.
 */
#define DEBMOCK_ERR_EXEC 23

/**
 * The edition of the interface that this header describes: the first two parts of the version,
 * as major * 1000 + minor.
 */
#define DEBMOCK_ABI_VERSION 1

/**
 * Something that this version has no number for; its JSON tells it.
 */
#define DEBMOCK_EVENT_OTHER 0

/**
 * A stage began: its stage, and as text what it works on. Stages nest.
 */
#define DEBMOCK_EVENT_STAGE_STARTED 1

/**
 * A stage ended: its stage, seconds and success.
 */
#define DEBMOCK_EVENT_STAGE_FINISHED 2

/**
 * A stage moved on: its stage, done, total and unit.
 */
#define DEBMOCK_EVENT_PROGRESS 3

/**
 * A package was fetched, unpacked, configured, installed or removed: its action, package, version
 * and architecture.
 */
#define DEBMOCK_EVENT_PACKAGE 4

/**
 * A line of a log: its log, and the line as text.
 */
#define DEBMOCK_EVENT_LOG_LINE 5

/**
 * Lines of a log that the queue had no room for: its log and their count.
 */
#define DEBMOCK_EVENT_LINES_SKIPPED 6

/**
 * Something that the user should know: text and hint.
 */
#define DEBMOCK_EVENT_WARNING 7

/**
 * The operation waits for somebody else: what for as text, and the holder.
 */
#define DEBMOCK_EVENT_WAITING 8

/**
 * A limit was reached: which one as text.
 */
#define DEBMOCK_EVENT_LIMIT_HIT 9

/**
 * Progress counts bytes.
 */
#define DEBMOCK_UNIT_BYTES 1

/**
 * Progress counts packages.
 */
#define DEBMOCK_UNIT_PACKAGES 2

/**
 * Progress counts files.
 */
#define DEBMOCK_UNIT_FILES 3

/**
 * The package was fetched.
 */
#define DEBMOCK_PACKAGE_FETCHED 1

/**
 * The package was unpacked.
 */
#define DEBMOCK_PACKAGE_UNPACKED 2

/**
 * The package was configured.
 */
#define DEBMOCK_PACKAGE_CONFIGURED 3

/**
 * The package was installed.
 */
#define DEBMOCK_PACKAGE_INSTALLED 4

/**
 * The package was removed.
 */
#define DEBMOCK_PACKAGE_REMOVED 5

/**
 * The log of what the build printed.
 */
#define DEBMOCK_LOG_BUILD 1

/**
 * The log of what happened to the root: bootstrap, apt, dpkg.
 */
#define DEBMOCK_LOG_ROOT 2

/**
 * The output of a command.
 */
#define DEBMOCK_LOG_COMMAND 3

/**
 * The call has nothing to tell but its success.
 */
#define DEBMOCK_RESULT_NONE 0

/**
 * Packages that came and went: debmock_install and its relatives.
 */
#define DEBMOCK_RESULT_PLAN 1

/**
 * What was built: debmock_rebuild.
 */
#define DEBMOCK_RESULT_BUILD 2

/**
 * How a program ended: debmock_session_run, debmock_process_wait.
 */
#define DEBMOCK_RESULT_EXIT 3

/**
 * A session: debmock_session_open_start.
 */
#define DEBMOCK_RESULT_SESSION 4

/**
 * What there is, as JSON only: debmock_list, debmock_list_snapshots, debmock_import_layers,
 * debmock_configs.
 */
#define DEBMOCK_RESULT_LIST 5

/**
 * What this machine can do: debmock_doctor.
 */
#define DEBMOCK_RESULT_DOCTOR 6

/**
 * debmock_scrub removes the buildroot.
 */
#define DEBMOCK_SCRUB_CHROOT 1

/**
 * debmock_scrub removes layers that no buildroot stands on.
 */
#define DEBMOCK_SCRUB_LAYERS 2

/**
 * debmock_scrub removes downloaded packages.
 */
#define DEBMOCK_SCRUB_DEBS 4

/**
 * debmock_scrub removes downloaded indexes.
 */
#define DEBMOCK_SCRUB_LISTS 8

/**
 * debmock_scrub removes all of these.
 */
#define DEBMOCK_SCRUB_ALL 15

/**
 * As the ending of the file says: .tar, .tar.gz or .tar.zst; images are compressed with zstd.
 */
#define DEBMOCK_COMPRESSION_BY_NAME 0

/**
 * Not compressed.
 */
#define DEBMOCK_COMPRESSION_NONE 1

/**
 * Compressed with zstd.
 */
#define DEBMOCK_COMPRESSION_ZSTD 2

/**
 * Compressed with gzip.
 */
#define DEBMOCK_COMPRESSION_GZIP 3

/**
 * As the ending of the name says: .tar, .tar.gz and .tar.zst are archives, .oci and .oci.tar OCI
 * images, and what ends in a slash is a directory.
 */
#define DEBMOCK_FORM_BY_NAME 0

/**
 * One tar archive of the whole root.
 */
#define DEBMOCK_FORM_TAR 1

/**
 * A directory with an OCI image layout.
 */
#define DEBMOCK_FORM_OCI 2

/**
 * A tar archive of an OCI image layout.
 */
#define DEBMOCK_FORM_OCI_ARCHIVE 3

/**
 * A directory with the root itself; for users everything in it is their own.
 */
#define DEBMOCK_FORM_DIRECTORY 4

/**
 * Builds packages for one architecture.
 */
#define DEBMOCK_BUILD_ANY 1

/**
 * Builds packages for all architectures.
 */
#define DEBMOCK_BUILD_ALL 2

/**
 * Builds the source package.
 */
#define DEBMOCK_BUILD_SOURCE 4

/**
 * The tests of the package are not run.
 */
#define DEBMOCK_REBUILD_NOCHECK 1

/**
 * The root is cleaned when the config says so.
 */
#define DEBMOCK_CLEANUP_BY_CONFIG 0

/**
 * The root is cleaned after every build.
 */
#define DEBMOCK_CLEANUP_ALWAYS 1

/**
 * The root is cleaned after a build that succeeded.
 */
#define DEBMOCK_CLEANUP_SUCCESS 2

/**
 * The root is not cleaned.
 */
#define DEBMOCK_CLEANUP_NEVER 3

/**
 * The session sees the host's resolver configuration, so that programs can be given the network.
 */
#define DEBMOCK_SESSION_NETWORK 1

/**
 * The program gets the host's network.
 */
#define DEBMOCK_RUN_NETWORK 1

/**
 * fsync and its relatives succeed without effect.
 */
#define DEBMOCK_RUN_SUPPRESS_SYNC 2

/**
 * The program has the 32-bit personality.
 */
#define DEBMOCK_RUN_LINUX32 4

/**
 * Nothing is in the environment but what the options say, and HOME, USER, LOGNAME and SHELL.
 */
#define DEBMOCK_RUN_CLEAR_ENVIRONMENT 8

/**
 * A named, persistent, writable root, whether it has been made already or not. Any number of
 * threads may use it. Sessions, operations and results that came of it live on without it.
 *
 * It holds a helper process. In a forked child every call on it fails with DEBMOCK_ERR_FORKED,
 * and freeing it only closes descriptors.
 */
typedef struct debmock_buildroot debmock_buildroot;

/**
 * Stops blocking calls that were given it (debmock_watch). It may be used by any number of
 * threads and calls at once, and freed while calls use it.
 */
typedef struct debmock_cancel debmock_cancel;

/**
 * What the user wants: suite, architecture, archives, keyrings, packages, policies. Immutable:
 * any number of threads may use it.
 */
typedef struct debmock_config debmock_config;

/**
 * What failed, why, and what to do about it. Immutable: any number of threads may read it.
 */
typedef struct debmock_error debmock_error;

/**
 * Something that started, moved or finished. Immutable: any number of threads may read it. One
 * that a callback gets lives until the callback returns; one of debmock_operation_next_event
 * belongs to the caller.
 *
 * Functions that ask for something that this kind of event does not have give 0 or NULL. Strings
 * belong to the event.
 */
typedef struct debmock_event debmock_event;

/**
 * A started long call. It owns a thread and all that the call uses: the buildroot or session that
 * it works on may be freed meanwhile. Any number of threads may use it; the last one frees it.
 *
 * In a forked child every call on it fails with DEBMOCK_ERR_FORKED, and freeing it only closes its
 * descriptor.
 */
typedef struct debmock_operation debmock_operation;

/**
 * What came of a long call. Immutable: any number of threads may read it.
 *
 * Functions that ask for something that this kind of result does not have give 0 or NULL. Strings
 * belong to the result.
 */
typedef struct debmock_result debmock_result;

/**
 * A running program. Any number of threads may use it. Freeing it kills its process group; so does
 * the end of its session, which it keeps open.
 *
 * In a forked child every call on it fails with DEBMOCK_ERR_FORKED, and freeing it only closes
 * descriptors.
 */
typedef struct debmock_process debmock_process;

/**
 * A buildroot that is open: namespaces that commands run in. Any number of threads may use it.
 * With its last handle every process and every mount of it ends.
 *
 * In a forked child every call on it fails with DEBMOCK_ERR_FORKED, and freeing it only closes
 * descriptors.
 */
typedef struct debmock_session debmock_session;

/**
 * Which config to make. At most one of name, path and toml says where it comes from; with none of
 * them it is the one for this host: its own suite if it is Debian or Ubuntu, else Debian stable.
 */
typedef struct debmock_config_options {
  /**
   * sizeof(debmock_config_options).
   */
  size_t size;
  /**
   * A name that debmock_configs tells; or the name of what toml describes, which is "custom" if
   * it is NULL.
   */
  const char *name;
  /**
   * A TOML file.
   */
  const char *path;
  /**
   * TOML text.
   */
  const char *toml;
  /**
   * KEY=VALUE strings that come over everything else, ended by NULL; may be NULL.
   */
  const char *const *overrides;
} debmock_config_options;

/**
 * Is called with each event, in the thread that made the blocking call. The event lives until it
 * returns. It may call any function of debmock; it must not throw, jump or end the thread.
 */
typedef void (*debmock_event_callback)(const struct debmock_event *event, void *user_data);

/**
 * Who watches a blocking call, and who may stop it.
 */
typedef struct debmock_watch {
  /**
   * sizeof(debmock_watch).
   */
  size_t size;
  /**
   * Called with each event; may be NULL.
   */
  debmock_event_callback on_event;
  /**
   * Passed on to it.
   */
  void *user_data;
  /**
   * Stops the call when it is requested; may be NULL.
   */
  const struct debmock_cancel *cancel;
} debmock_watch;

/**
 * What is not in the config. Everything may be zero.
 */
typedef struct debmock_buildroot_options {
  /**
   * sizeof(debmock_buildroot_options).
   */
  size_t size;
  /**
   * Tells several buildroots of one config apart.
   */
  const char *uniqueext;
  /**
   * The program debmock-helper; found by itself if NULL.
   */
  const char *helper;
  /**
   * Where to keep what can be made again; the user's own place if NULL.
   */
  const char *cache_dir;
  /**
   * Where to keep buildroots; the user's own place if NULL.
   */
  const char *state_dir;
} debmock_buildroot_options;

/**
 * How to export. Everything may be zero.
 */
typedef struct debmock_export_options {
  /**
   * sizeof(debmock_export_options).
   */
  size_t size;
  /**
   * One of DEBMOCK_COMPRESSION_….
   */
  uint64_t compression;
  /**
   * The level of the compression, of zstd from 1 to 22, of gzip from 1 to 9; 0 for the usual one.
   */
  int64_t level;
  /**
   * Later modification times become this one: seconds since 1970. 0 for SOURCE_DATE_EPOCH of
   * the environment; if that is not set, times stay.
   */
  uint64_t source_date_epoch;
  /**
   * One of DEBMOCK_FORM_….
   */
  uint64_t form;
  /**
   * 1 for one layer in an image instead of one for each layer of the buildroot.
   */
  uint64_t flatten;
} debmock_export_options;

/**
 * What to build, and how. Everything but source may be zero: then it is as the config says.
 */
typedef struct debmock_rebuild_options {
  /**
   * sizeof(debmock_rebuild_options).
   */
  size_t size;
  /**
   * NAME or NAME=VERSION of the archive, a path or URI of a .dsc, or a directory with debian/
   * in it (./NAME).
   */
  const char *source;
  /**
   * The directory that results go to.
   */
  const char *resultdir;
  /**
   * Without resultdir: results go to SOURCE_VERSION below this directory, which is "results" if
   * it is NULL, too.
   */
  const char *results_below;
  /**
   * Some of DEBMOCK_BUILD_…; 0 for packages of both kinds.
   */
  uint64_t build;
  /**
   * Some of DEBMOCK_REBUILD_….
   */
  uint64_t flags;
  /**
   * Build profiles, ended by NULL; NULL for those of the config. An empty list is none.
   */
  const char *const *profiles;
  /**
   * Further build dependencies, ended by NULL.
   */
  const char *const *add_depends;
  /**
   * .deb files, or directories of them, that may satisfy dependencies; ended by NULL.
   */
  const char *const *extra_packages;
  /**
   * Lines of sources.list(5): further archives for this build; ended by NULL.
   */
  const char *const *extra_repositories;
  /**
   * Parallel jobs; 0 for the config's.
   */
  uint64_t jobs;
  /**
   * The distribution that the .changes names; NULL for the changelog's.
   */
  const char *dist;
  /**
   * One of DEBMOCK_CLEANUP_….
   */
  uint64_t cleanup_after;
  /**
   * Builds the same source under a higher version: +bNUMBER; 0 for no such thing.
   */
  uint64_t binnmu;
  /**
   * What the changelog says about that; NULL for "Rebuild.".
   */
  const char *binnmu_message;
  /**
   * Who signs it, NAME <ADDRESS>; NULL for the maintainer of the source.
   */
  const char *binnmu_maintainer;
  /**
   * Its time, seconds since 1970; 0 for a time that follows from the last entry.
   */
  int64_t binnmu_timestamp;
} debmock_rebuild_options;

/**
 * How to open a session. Everything may be zero.
 */
typedef struct debmock_session_options {
  /**
   * sizeof(debmock_session_options).
   */
  size_t size;
  /**
   * Some of DEBMOCK_SESSION_….
   */
  uint64_t flags;
} debmock_session_options;

/**
 * A program to run inside. Everything may be zero.
 */
typedef struct debmock_run_options {
  /**
   * sizeof(debmock_run_options).
   */
  size_t size;
  /**
   * Program and arguments, ended by NULL; a login shell if NULL.
   */
  const char *const *argv;
  /**
   * NAME=VALUE strings, ended by NULL. They come over a minimal environment.
   */
  const char *const *environment;
  /**
   * Working directory inside; "/" if NULL.
   */
  const char *directory;
  /**
   * User by name or number, as the root knows it; "root" if NULL.
   */
  const char *user;
  /**
   * Some of DEBMOCK_RUN_….
   */
  uint64_t flags;
  /**
   * Ends the program after so many seconds; 0 for no limit. Not for debmock_session_spawn.
   */
  double wall_limit;
  /**
   * Ends the program when it has printed nothing for so many seconds; 0 for no limit. Not for
   * debmock_session_spawn.
   */
  double silence_limit;
  /**
   * Keeps what the program prints, if it is not more than so many bytes, for
   * debmock_result_output; 0 to keep nothing. Not for debmock_session_spawn.
   */
  uint64_t capture;
} debmock_run_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The edition of the interface that the loaded library has. A program works with a library whose
 * edition is not lower than DEBMOCK_ABI_VERSION was when it was compiled. Never fails.
 */
uint32_t debmock_abi_version(void);

/**
 * The status that the call returned: one of DEBMOCK_ERR_…; DEBMOCK_OK for NULL.
 */
int32_t debmock_error_status(const struct debmock_error *error);

/**
 * The exit status that the command line gives for this error; 0 for NULL.
 */
int32_t debmock_error_exit_code(const struct debmock_error *error);

/**
 * What failed with what, and all its causes, on one line. Belongs to the error. NULL for NULL.
 */
const char *debmock_error_message(const struct debmock_error *error);

/**
 * What to do about it, or NULL if nobody knows. Belongs to the error.
 */
const char *debmock_error_hint(const struct debmock_error *error);

/**
 * The sentences of the message one by one: 0 is the outermost, each further one the cause of that
 * before; NULL behind the last. Belongs to the error.
 */
const char *debmock_error_cause(const struct debmock_error *error, size_t index);

/**
 * What there is of a build that failed: its logs, the stages that it got through, the stage that
 * failed. NULL for errors of other calls. Belongs to the error: do not free it.
 */
const struct debmock_result *debmock_error_result(const struct debmock_error *error);

/**
 * Frees an error and sets the variable to NULL.
 */
void debmock_error_free(struct debmock_error **error);

/**
 * A token that nobody has used; NULL if there is no memory. Free it with debmock_cancel_free.
 */
struct debmock_cancel *debmock_cancel_new(void);

/**
 * Stops every call that was given the token, now and later: each returns DEBMOCK_ERR_CANCELLED
 * within a second. Does not wait for them. May be called in a signal handler. Does nothing for
 * NULL.
 */
void debmock_cancel_request(const struct debmock_cancel *cancel);

/**
 * Whether somebody has asked to stop; false for NULL.
 */
bool debmock_cancel_requested(const struct debmock_cancel *cancel);

/**
 * Frees a token and sets the variable to NULL.
 */
void debmock_cancel_free(struct debmock_cancel **cancel);

/**
 * Loads a config by its name ("debian-bookworm"), or by the path of a file if there is a slash in
 * it or it ends in ".toml". Free it with debmock_config_free.
 *
 * Fails with DEBMOCK_ERR_CONFIG if there is none, or if something in it is wrong.
 */
int32_t debmock_config_load(const char *name,
                            struct debmock_config **config,
                            struct debmock_error **error);

/**
 * Makes a config of whatever options say; NULL stands for none: the config for this host. Free it
 * with debmock_config_free.
 *
 * Fails with DEBMOCK_ERR_CONFIG if there is none, or if something in it is wrong.
 */
int32_t debmock_config_new(const struct debmock_config_options *options,
                           struct debmock_config **config,
                           struct debmock_error **error);

/**
 * Its name. Belongs to the config. NULL for NULL, as with all that follow.
 */
const char *debmock_config_name(const struct debmock_config *config);

/**
 * Its distribution: "debian", "ubuntu" or another. Belongs to the config.
 */
const char *debmock_config_distribution(const struct debmock_config *config);

/**
 * Its suite. Belongs to the config.
 */
const char *debmock_config_suite(const struct debmock_config *config);

/**
 * Debian's name of its architecture. Belongs to the config.
 */
const char *debmock_config_architecture(const struct debmock_config *config);

/**
 * Something that the user should know about the config, counted from 0; NULL behind the last.
 * Belongs to the config.
 */
const char *debmock_config_warning(const struct debmock_config *config, size_t index);

/**
 * What to do about that warning; NULL if nobody knows. Belongs to the config.
 */
const char *debmock_config_warning_hint(const struct debmock_config *config, size_t index);

/**
 * Every key with its value and where that comes from, as JSON: what `debmock config show --json`
 * prints. Belongs to the config.
 */
const char *debmock_config_json(const struct debmock_config *config);

/**
 * Frees a config and sets the variable to NULL.
 */
void debmock_config_free(struct debmock_config **config);

/**
 * Which configs there are: the JSON of the result has their names, where each is described and
 * what it extends.
 *
 * Fails with DEBMOCK_ERR_CONFIG if a directory of configs cannot be read.
 */
int32_t debmock_configs(const struct debmock_watch *watch,
                        struct debmock_result **result,
                        struct debmock_error **error);

/**
 * Starts debmock_configs.
 */
int32_t debmock_configs_start(struct debmock_operation **operation, struct debmock_error **error);

/**
 * Which kind of event: one of DEBMOCK_EVENT_….
 */
uint32_t debmock_event_kind(const struct debmock_event *event);

/**
 * The operation that it belongs to; unique in this process.
 */
uint64_t debmock_event_operation(const struct debmock_event *event);

/**
 * Its number within the operation, from 0. Numbers may be missing, but never go back.
 */
uint64_t debmock_event_sequence(const struct debmock_event *event);

/**
 * When it happened: seconds since 1970, by the wall clock.
 */
double debmock_event_time(const struct debmock_event *event);

/**
 * Seconds since the operation started, by the monotonic clock.
 */
double debmock_event_elapsed(const struct debmock_event *event);

/**
 * The name of the stage, which is stable: "fetch", "unpack", "build" and so on.
 */
const char *debmock_event_stage(const struct debmock_event *event);

/**
 * Its text, for people: the kinds of events say what it is.
 */
const char *debmock_event_text(const struct debmock_event *event);

/**
 * What to do about a warning; NULL if nobody knows.
 */
const char *debmock_event_hint(const struct debmock_event *event);

/**
 * Who holds what the operation waits for.
 */
const char *debmock_event_holder(const struct debmock_event *event);

/**
 * How much of a stage is done, in its unit.
 */
uint64_t debmock_event_done(const struct debmock_event *event);

/**
 * How much there is to do, in the unit of the stage; 0 if that is not known.
 */
uint64_t debmock_event_total(const struct debmock_event *event);

/**
 * What progress counts: one of DEBMOCK_UNIT_….
 */
uint32_t debmock_event_unit(const struct debmock_event *event);

/**
 * How long the stage that ended took, in seconds.
 */
double debmock_event_seconds(const struct debmock_event *event);

/**
 * Whether the stage that ended succeeded.
 */
bool debmock_event_success(const struct debmock_event *event);

/**
 * What was done to the package: one of DEBMOCK_PACKAGE_….
 */
uint32_t debmock_event_action(const struct debmock_event *event);

/**
 * The name of the binary package.
 */
const char *debmock_event_package(const struct debmock_event *event);

/**
 * The version of the package.
 */
const char *debmock_event_version(const struct debmock_event *event);

/**
 * The architecture of the package.
 */
const char *debmock_event_architecture(const struct debmock_event *event);

/**
 * The log that the line or the lines belong to: one of DEBMOCK_LOG_….
 */
uint32_t debmock_event_log(const struct debmock_event *event);

/**
 * How many lines were skipped; where the log is a file, it has them.
 */
uint64_t debmock_event_count(const struct debmock_event *event);

/**
 * The whole event as a line of JSON, as `debmock --json` prints it.
 */
const char *debmock_event_json(const struct debmock_event *event);

/**
 * Frees an event and sets the variable to NULL.
 */
void debmock_event_free(struct debmock_event **event);

/**
 * Which kind of result: one of DEBMOCK_RESULT_….
 */
uint32_t debmock_result_kind(const struct debmock_result *result);

/**
 * All of the result as a JSON object, without what a program printed. "schema" is its version;
 * members are only ever added.
 */
const char *debmock_result_json(const struct debmock_result *result);

/**
 * How many packages came.
 */
size_t debmock_result_installed_count(const struct debmock_result *result);

/**
 * How many packages went.
 */
size_t debmock_result_removed_count(const struct debmock_result *result);

/**
 * The exit status of the program; -1 if a signal ended it, and for other results.
 */
int32_t debmock_result_exit_status(const struct debmock_result *result);

/**
 * The signal that ended the program; 0 if none did.
 */
int32_t debmock_result_signal(const struct debmock_result *result);

/**
 * What the program printed, if debmock_run_options.capture asked for it, and its length in bytes,
 * which size may be NULL for. It does not end with NUL. Belongs to the result.
 */
const uint8_t *debmock_result_output(const struct debmock_result *result, size_t *size);

/**
 * The name of the source package that was built.
 */
const char *debmock_result_name(const struct debmock_result *result);

/**
 * The version of the packages that were built.
 */
const char *debmock_result_version(const struct debmock_result *result);

/**
 * The architecture that was built for.
 */
const char *debmock_result_architecture(const struct debmock_result *result);

/**
 * The directory that all files of the build are in.
 */
const char *debmock_result_dir(const struct debmock_result *result);

/**
 * The stage that failed, of the result that an error has; NULL after a success.
 */
const char *debmock_result_failed_stage(const struct debmock_result *result);

/**
 * The path of the .changes file.
 */
const char *debmock_result_changes(const struct debmock_result *result);

/**
 * The path of the .buildinfo file.
 */
const char *debmock_result_buildinfo(const struct debmock_result *result);

/**
 * The path of a binary package that was built, counted from 0; NULL behind the last.
 */
const char *debmock_result_package(const struct debmock_result *result, size_t index);

/**
 * The path of a log of the build, counted from 0; NULL behind the last.
 */
const char *debmock_result_log(const struct debmock_result *result, size_t index);

/**
 * How long the build took, in seconds.
 */
double debmock_result_seconds(const struct debmock_result *result);

/**
 * How long a stage of the build took in all, in seconds; 0 for one that was not run.
 */
double debmock_result_stage_seconds(const struct debmock_result *result, const char *stage);

/**
 * Whether any isolation mode works on this machine for this user.
 */
bool debmock_result_usable(const struct debmock_result *result);

/**
 * The session that debmock_session_open_start opened. Each call gives a handle of its own; free
 * it with debmock_session_free. The session ends with the last of its handles, this result
 * included.
 *
 * Fails with DEBMOCK_ERR_USAGE for other results.
 */
int32_t debmock_result_session(const struct debmock_result *result,
                               struct debmock_session **session,
                               struct debmock_error **error);

/**
 * Frees a result and sets the variable to NULL. The files of a build stay.
 */
void debmock_result_free(struct debmock_result **result);

/**
 * Its id, unique in this process; its events carry it. 0 for NULL.
 */
uint64_t debmock_operation_id(const struct debmock_operation *operation);

/**
 * A descriptor that poll(2) finds readable while an event waits, and for ever once the work has
 * ended. It belongs to the operation: neither read nor close it. It is close-on-exec. -1 for NULL
 * and in a forked child.
 */
int32_t debmock_operation_fd(const struct debmock_operation *operation);

/**
 * The next event, waiting for it at most timeout_ms milliseconds, or for ever if that is negative.
 * The event is NULL if there was none in that time or if there will be none any more, which
 * debmock_operation_finished tells apart. Free it with debmock_event_free.
 *
 * A caller that does not read events stops nothing: progress is joined, lines of logs that have
 * no room are counted, and nothing else is lost.
 */
int32_t debmock_operation_next_event(const struct debmock_operation *operation,
                                     int32_t timeout_ms,
                                     struct debmock_event **event,
                                     struct debmock_error **error);

/**
 * Whether the work has ended and every event was read: debmock_operation_wait will not wait.
 * False for NULL and in a forked child.
 */
bool debmock_operation_finished(const struct debmock_operation *operation);

/**
 * Asks the work to stop; does not wait for that. debmock_operation_wait then gives
 * DEBMOCK_ERR_CANCELLED within a second, unless the work ended before.
 */
int32_t debmock_operation_cancel(const struct debmock_operation *operation,
                                 struct debmock_error **error);

/**
 * Waits for the end of the work and of its thread; status and error are those of the work. The
 * result goes where result points, which may be NULL; free it with debmock_result_free. Events
 * that nobody has read can be read afterwards.
 *
 * Fails with DEBMOCK_ERR_USAGE if it was called before: a result is given once.
 */
int32_t debmock_operation_wait(const struct debmock_operation *operation,
                               struct debmock_result **result,
                               struct debmock_error **error);

/**
 * Cancels an operation that has not ended, waits for its thread, frees it and sets the variable
 * to NULL.
 */
void debmock_operation_free(struct debmock_operation **operation);

/**
 * The buildroot of a config; options may be NULL. Starts a helper process, which lives as long as
 * the buildroot and all that came of it. The config may be freed. Free the buildroot with
 * debmock_buildroot_free.
 *
 * Fails with DEBMOCK_ERR_ISOLATION if this machine or user cannot have the isolation mode,
 * DEBMOCK_ERR_HELPER if there is no helper, DEBMOCK_ERR_USAGE for names that cannot be.
 */
int32_t debmock_buildroot_new(const struct debmock_config *config,
                              const struct debmock_buildroot_options *options,
                              struct debmock_buildroot **root,
                              struct debmock_error **error);

/**
 * Its name: that of the config and the extension. Belongs to the buildroot. NULL for NULL.
 */
const char *debmock_buildroot_name(const struct debmock_buildroot *root);

/**
 * Whether it has been made already.
 */
int32_t debmock_buildroot_exists(const struct debmock_buildroot *root,
                                 bool *exists,
                                 struct debmock_error **error);

/**
 * Frees the handle and sets the variable to NULL; what is on disk stays.
 */
void debmock_buildroot_free(struct debmock_buildroot **root);

/**
 * Makes the buildroot unless it exists: resolves and makes its base layer. Waits for other
 * processes that use it, as long as the config says.
 *
 * Fails with DEBMOCK_ERR_ARCHIVE, DEBMOCK_ERR_SIGNATURE, DEBMOCK_ERR_DEPENDENCY,
 * DEBMOCK_ERR_BOOTSTRAP, DEBMOCK_ERR_LOCKED, DEBMOCK_ERR_NO_SPACE.
 */
int32_t debmock_init(const struct debmock_buildroot *root,
                     const struct debmock_watch *watch,
                     struct debmock_error **error);

/**
 * Starts debmock_init.
 */
int32_t debmock_init_start(const struct debmock_buildroot *root,
                           struct debmock_operation **operation,
                           struct debmock_error **error);

/**
 * Removes what was changed since the base, which is chosen anew at the next use unless it was
 * imported.
 *
 * Fails with DEBMOCK_ERR_BUSY while a session of this buildroot is open.
 */
int32_t debmock_clean(const struct debmock_buildroot *root,
                      const struct debmock_watch *watch,
                      struct debmock_error **error);

/**
 * Starts debmock_clean.
 */
int32_t debmock_clean_start(const struct debmock_buildroot *root,
                            struct debmock_operation **operation,
                            struct debmock_error **error);

/**
 * Removes parts of the store: what is one or several of DEBMOCK_SCRUB_…. Layers that a buildroot
 * stands on stay.
 *
 * Fails with DEBMOCK_ERR_BUSY while a session of this buildroot is open.
 */
int32_t debmock_scrub(const struct debmock_buildroot *root,
                      uint64_t what,
                      const struct debmock_watch *watch,
                      struct debmock_error **error);

/**
 * Starts debmock_scrub.
 */
int32_t debmock_scrub_start(const struct debmock_buildroot *root,
                            uint64_t what,
                            struct debmock_operation **operation,
                            struct debmock_error **error);

/**
 * Writes the root to a tar archive, an OCI image or a directory, which appears complete or not at
 * all. The same root gives the same bytes. options may be NULL.
 *
 * Fails with DEBMOCK_ERR_BUSY while a session of this buildroot is open, with DEBMOCK_ERR_USAGE
 * for a name whose ending does not say what is meant, and for a directory that exists.
 */
int32_t debmock_export(const struct debmock_buildroot *root,
                       const char *file,
                       const struct debmock_export_options *options,
                       const struct debmock_watch *watch,
                       struct debmock_error **error);

/**
 * Starts debmock_export.
 */
int32_t debmock_export_start(const struct debmock_buildroot *root,
                             const char *file,
                             const struct debmock_export_options *options,
                             struct debmock_operation **operation,
                             struct debmock_error **error);

/**
 * Makes the base of the buildroot of a tar archive (plain, or packed with gzip, xz or zstd), an OCI
 * image layout (a directory or a tar archive of it) or a directory with a root in it, and drops its
 * changes.
 *
 * Fails with DEBMOCK_ERR_BUSY while a session of this buildroot is open, with
 * DEBMOCK_ERR_BUILDROOT for an archive or image that is damaged, is for another architecture or
 * tries to leave the root.
 */
int32_t debmock_import(const struct debmock_buildroot *root,
                       const char *file,
                       const struct debmock_watch *watch,
                       struct debmock_error **error);

/**
 * Starts debmock_import.
 */
int32_t debmock_import_start(const struct debmock_buildroot *root,
                             const char *file,
                             struct debmock_operation **operation,
                             struct debmock_error **error);

/**
 * Takes the layers of an image that debmock exported into the store, under the keys that it says
 * they have: whatever stands on such a layer finds it made. Layers that are there already stay,
 * and so does the buildroot. The JSON of the result has the keys, as `layers`.
 *
 * A key says what went into a layer, but nothing proves that of a layer that somebody else made:
 * whoever gives layers away decides what is in the roots that stand on them.
 *
 * Fails as debmock_import, and with DEBMOCK_ERR_BUILDROOT for an image without such layers.
 */
int32_t debmock_import_layers(const struct debmock_buildroot *root,
                              const char *file,
                              const struct debmock_watch *watch,
                              struct debmock_result **result,
                              struct debmock_error **error);

/**
 * Starts debmock_import_layers.
 */
int32_t debmock_import_layers_start(const struct debmock_buildroot *root,
                                    const char *file,
                                    struct debmock_operation **operation,
                                    struct debmock_error **error);

/**
 * What lies in the store that the buildroot belongs to: the JSON of the result has buildroots,
 * layers and downloads with their bytes on disk. Takes no lock.
 */
int32_t debmock_list(const struct debmock_buildroot *root,
                     const struct debmock_watch *watch,
                     struct debmock_result **result,
                     struct debmock_error **error);

/**
 * Starts debmock_list.
 */
int32_t debmock_list_start(const struct debmock_buildroot *root,
                           struct debmock_operation **operation,
                           struct debmock_error **error);

/**
 * Keeps the root as it is now under a name. Makes the buildroot if it does not exist.
 *
 * Fails with DEBMOCK_ERR_BUSY while a session of this buildroot is open, with DEBMOCK_ERR_USAGE for
 * a name that is taken or cannot be one.
 */
int32_t debmock_snapshot(const struct debmock_buildroot *root,
                         const char *name,
                         const struct debmock_watch *watch,
                         struct debmock_error **error);

/**
 * Starts debmock_snapshot.
 */
int32_t debmock_snapshot_start(const struct debmock_buildroot *root,
                               const char *name,
                               struct debmock_operation **operation,
                               struct debmock_error **error);

/**
 * Brings the root back to what it was when the snapshot was taken; what was changed since then is
 * dropped, unless another snapshot has it.
 *
 * Fails with DEBMOCK_ERR_BUSY while a session of this buildroot is open, with DEBMOCK_ERR_USAGE if
 * there is no such snapshot, with DEBMOCK_ERR_BUILDROOT if a machine that went down may have damaged
 * it.
 */
int32_t debmock_rollback(const struct debmock_buildroot *root,
                         const char *name,
                         const struct debmock_watch *watch,
                         struct debmock_error **error);

/**
 * Starts debmock_rollback.
 */
int32_t debmock_rollback_start(const struct debmock_buildroot *root,
                               const char *name,
                               struct debmock_operation **operation,
                               struct debmock_error **error);

/**
 * Removes a snapshot. What the root or another snapshot stands on stays.
 *
 * Fails as debmock_rollback does.
 */
int32_t debmock_remove_snapshot(const struct debmock_buildroot *root,
                                const char *name,
                                const struct debmock_watch *watch,
                                struct debmock_error **error);

/**
 * Starts debmock_remove_snapshot.
 */
int32_t debmock_remove_snapshot_start(const struct debmock_buildroot *root,
                                      const char *name,
                                      struct debmock_operation **operation,
                                      struct debmock_error **error);

/**
 * The snapshots of the buildroot, oldest first: the JSON of the result has name and time of
 * creation (seconds since 1970) of each. Takes no lock.
 */
int32_t debmock_list_snapshots(const struct debmock_buildroot *root,
                               const struct debmock_watch *watch,
                               struct debmock_result **result,
                               struct debmock_error **error);

/**
 * Starts debmock_list_snapshots.
 */
int32_t debmock_list_snapshots_start(const struct debmock_buildroot *root,
                                     struct debmock_operation **operation,
                                     struct debmock_error **error);

/**
 * Installs packages, each as apt takes them: NAME, NAME=VERSION, NAME/SUITE, NAME:ARCHITECTURE;
 * NULL ends the list. The result tells what came and went. Joins a session that this buildroot has
 * open, as all of these do.
 *
 * Fails with DEBMOCK_ERR_DEPENDENCY if they cannot be installed together, DEBMOCK_ERR_PACKAGE if
 * apt or dpkg fails, and as debmock_session_open.
 */
int32_t debmock_install(const struct debmock_buildroot *root,
                        const char *const *packages,
                        const struct debmock_watch *watch,
                        struct debmock_result **result,
                        struct debmock_error **error);

/**
 * Starts debmock_install.
 */
int32_t debmock_install_start(const struct debmock_buildroot *root,
                              const char *const *packages,
                              struct debmock_operation **operation,
                              struct debmock_error **error);

/**
 * Removes packages with their configuration files; NULL ends the list.
 *
 * Fails as debmock_install.
 */
int32_t debmock_remove(const struct debmock_buildroot *root,
                       const char *const *packages,
                       const struct debmock_watch *watch,
                       struct debmock_result **result,
                       struct debmock_error **error);

/**
 * Starts debmock_remove.
 */
int32_t debmock_remove_start(const struct debmock_buildroot *root,
                             const char *const *packages,
                             struct debmock_operation **operation,
                             struct debmock_error **error);

/**
 * Brings every package to the version that the archive offers now.
 *
 * Fails as debmock_install.
 */
int32_t debmock_update(const struct debmock_buildroot *root,
                       const struct debmock_watch *watch,
                       struct debmock_result **result,
                       struct debmock_error **error);

/**
 * Starts debmock_update.
 */
int32_t debmock_update_start(const struct debmock_buildroot *root,
                             struct debmock_operation **operation,
                             struct debmock_error **error);

/**
 * Runs apt-get with these arguments; NULL ends the list. Packages that it wants are fetched by
 * this process; inside it has no network. What it prints comes as lines of DEBMOCK_LOG_ROOT.
 *
 * Fails as debmock_install.
 */
int32_t debmock_apt(const struct debmock_buildroot *root,
                    const char *const *arguments,
                    const struct debmock_watch *watch,
                    struct debmock_result **result,
                    struct debmock_error **error);

/**
 * Starts debmock_apt.
 */
int32_t debmock_apt_start(const struct debmock_buildroot *root,
                          const char *const *arguments,
                          struct debmock_operation **operation,
                          struct debmock_error **error);

/**
 * Builds a source package. Unless a session is open already, the root begins without changes, and
 * they are dropped again afterwards, or kept, as options and config say. The result tells where
 * the packages are; logs and result.json are there after a failure, too, and the hint of the
 * error says where.
 *
 * Fails with DEBMOCK_ERR_SOURCE, DEBMOCK_ERR_DEPENDENCY, DEBMOCK_ERR_BUILD if the package does not
 * build, DEBMOCK_ERR_TIMEOUT, DEBMOCK_ERR_RESULT_DIR, and as debmock_session_open.
 */
int32_t debmock_rebuild(const struct debmock_buildroot *root,
                        const struct debmock_rebuild_options *options,
                        const struct debmock_watch *watch,
                        struct debmock_result **result,
                        struct debmock_error **error);

/**
 * Starts debmock_rebuild.
 */
int32_t debmock_rebuild_start(const struct debmock_buildroot *root,
                              const struct debmock_rebuild_options *options,
                              struct debmock_operation **operation,
                              struct debmock_error **error);

/**
 * Installs what a build with these options needs; the result directory is not touched.
 *
 * Fails as debmock_install, and with DEBMOCK_ERR_SOURCE.
 */
int32_t debmock_install_dependencies(const struct debmock_buildroot *root,
                                     const struct debmock_rebuild_options *options,
                                     const struct debmock_watch *watch,
                                     struct debmock_result **result,
                                     struct debmock_error **error);

/**
 * Starts debmock_install_dependencies.
 */
int32_t debmock_install_dependencies_start(const struct debmock_buildroot *root,
                                           const struct debmock_rebuild_options *options,
                                           struct debmock_operation **operation,
                                           struct debmock_error **error);

/**
 * Opens the buildroot, which is made if it does not exist: the session that it has open already,
 * or a new one. Waits for other processes that use it, as long as the config says. options may be
 * NULL. Free the session with debmock_session_free.
 *
 * Fails with DEBMOCK_ERR_LOCKED when the time to wait has run out, with DEBMOCK_ERR_BUSY if the
 * session that is open lacks the network that options ask for, and as debmock_init.
 */
int32_t debmock_session_open(const struct debmock_buildroot *root,
                             const struct debmock_session_options *options,
                             const struct debmock_watch *watch,
                             struct debmock_session **session,
                             struct debmock_error **error);

/**
 * Starts debmock_session_open; debmock_result_session gives the session.
 */
int32_t debmock_session_open_start(const struct debmock_buildroot *root,
                                   const struct debmock_session_options *options,
                                   struct debmock_operation **operation,
                                   struct debmock_error **error);

/**
 * Copies a file or a directory of the host to a path inside; below it, if that is a directory.
 * Inside it belongs to root.
 *
 * Fails with DEBMOCK_ERR_IO if it cannot be read.
 */
int32_t debmock_session_copy_in(const struct debmock_session *session,
                                const char *host,
                                const char *inside,
                                const struct debmock_watch *watch,
                                struct debmock_error **error);

/**
 * Starts debmock_session_copy_in.
 */
int32_t debmock_session_copy_in_start(const struct debmock_session *session,
                                      const char *host,
                                      const char *inside,
                                      struct debmock_operation **operation,
                                      struct debmock_error **error);

/**
 * Copies a file or a directory of the root to a path of the host; below it, if that is a directory.
 * It appears complete or not at all and belongs to the caller. No symbolic link is followed out of
 * the root.
 *
 * Fails with DEBMOCK_ERR_BUILDROOT if it is neither a file nor a directory.
 */
int32_t debmock_session_copy_out(const struct debmock_session *session,
                                 const char *inside,
                                 const char *host,
                                 const struct debmock_watch *watch,
                                 struct debmock_error **error);

/**
 * Starts debmock_session_copy_out.
 */
int32_t debmock_session_copy_out_start(const struct debmock_session *session,
                                       const char *inside,
                                       const char *host,
                                       struct debmock_operation **operation,
                                       struct debmock_error **error);

/**
 * Frees the handle and sets the variable to NULL. The session ends with its last handle: waits
 * until its processes have ended.
 */
void debmock_session_free(struct debmock_session **session);

/**
 * Runs a program inside and waits for its end. It reads nothing; what it prints on both streams
 * comes as lines of DEBMOCK_LOG_COMMAND. The result tells how it ended: a program that fails is no
 * error.
 *
 * Fails with DEBMOCK_ERR_EXEC if it cannot be started, DEBMOCK_ERR_TIMEOUT after a limit.
 */
int32_t debmock_session_run(const struct debmock_session *session,
                            const struct debmock_run_options *run,
                            const struct debmock_watch *watch,
                            struct debmock_result **result,
                            struct debmock_error **error);

/**
 * Starts debmock_session_run.
 */
int32_t debmock_session_run_start(const struct debmock_session *session,
                                  const struct debmock_run_options *run,
                                  struct debmock_operation **operation,
                                  struct debmock_error **error);

/**
 * Starts a program with these three descriptors as its input, output and error; -1 stands for the
 * null device. They are copied and stay the caller's. Free the process with debmock_process_free.
 *
 * Fails with DEBMOCK_ERR_USAGE for directories and terminals, which must not go into a root, with
 * DEBMOCK_ERR_EXEC if the program cannot be started.
 */
int32_t debmock_session_spawn(const struct debmock_session *session,
                              const struct debmock_run_options *run,
                              int32_t input,
                              int32_t output,
                              int32_t errors,
                              struct debmock_process **process,
                              struct debmock_error **error);

/**
 * Starts a program on a terminal of the root's own, of this many rows and columns. What is written
 * to debmock_process_terminal it reads as typed, and what it prints can be read there. Free the
 * process with debmock_process_free.
 *
 * Fails as debmock_session_spawn.
 */
int32_t debmock_session_spawn_terminal(const struct debmock_session *session,
                                       const struct debmock_run_options *run,
                                       uint16_t rows,
                                       uint16_t columns,
                                       struct debmock_process **process,
                                       struct debmock_error **error);

/**
 * A descriptor that poll(2) finds readable when the program has ended. It belongs to the process:
 * neither read nor close it. It is close-on-exec. -1 for NULL.
 */
int32_t debmock_process_fd(const struct debmock_process *process);

/**
 * Our end of the program's terminal, to read and write. It belongs to the process: do not close
 * it. It is close-on-exec. -1 if the program has no terminal.
 */
int32_t debmock_process_terminal(const struct debmock_process *process);

/**
 * Tells the program that its terminal has another size.
 *
 * Fails with DEBMOCK_ERR_USAGE if it has no terminal.
 */
int32_t debmock_process_resize(const struct debmock_process *process,
                               uint16_t rows,
                               uint16_t columns,
                               struct debmock_error **error);

/**
 * Sends a signal to the process group of the program, by its number.
 *
 * Fails with DEBMOCK_ERR_USAGE for numbers that are none.
 */
int32_t debmock_process_signal(const struct debmock_process *process,
                               int32_t number,
                               struct debmock_error **error);

/**
 * How the program ended, waiting for that at most timeout_ms milliseconds, or for ever if that is
 * negative. The result is NULL if it has not ended by then; free it with debmock_result_free.
 */
int32_t debmock_process_wait(const struct debmock_process *process,
                             int32_t timeout_ms,
                             struct debmock_result **result,
                             struct debmock_error **error);

/**
 * Kills a program that has not ended, frees it and sets the variable to NULL.
 */
void debmock_process_free(struct debmock_process **process);

/**
 * Tries every isolation mode. config says which ids root may use, helper where debmock-helper is;
 * both may be NULL. debmock_result_usable tells whether any mode works, the JSON of the result
 * which ones, why the others do not, and what to do about it.
 */
int32_t debmock_doctor(const struct debmock_config *config,
                       const char *helper,
                       const struct debmock_watch *watch,
                       struct debmock_result **result,
                       struct debmock_error **error);

/**
 * Starts debmock_doctor.
 */
int32_t debmock_doctor_start(const struct debmock_config *config,
                             const char *helper,
                             struct debmock_operation **operation,
                             struct debmock_error **error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DEBMOCK_H */
