/* Wrong arguments of every function, and handles that are freed in any order. */
#include "test.h"

/* A struct as a newer program would pass it. */
struct newer {
  debmock_run_options known;
  uint64_t unknown;
};

static void null_everywhere(void) {
  debmock_error *error = NULL;
  debmock_operation *operation = NULL;
  debmock_result *result = NULL;
  debmock_session *session = NULL;
  debmock_process *process = NULL;
  debmock_buildroot *root = NULL;
  debmock_config *config = NULL;
  debmock_event *event = NULL;
  debmock_cancel *cancel = NULL;
  bool exists = true;
  size_t size = 7;
#define NULL_REFUSED(call) REFUSED(DEBMOCK_ERR_USAGE, call)
  NULL_REFUSED(debmock_config_load(NULL, &config, &error));
  NULL_REFUSED(debmock_config_load("debian-sid", NULL, &error));
  NULL_REFUSED(debmock_config_new(NULL, NULL, &error));
  NULL_REFUSED(debmock_configs_start(NULL, &error));
  NULL_REFUSED(debmock_buildroot_new(NULL, NULL, &root, &error));
  NULL_REFUSED(debmock_buildroot_new(NULL, NULL, NULL, &error));
  NULL_REFUSED(debmock_buildroot_exists(NULL, &exists, &error));
  NULL_REFUSED(debmock_init(NULL, NULL, &error));
  NULL_REFUSED(debmock_init_start(NULL, &operation, &error));
  NULL_REFUSED(debmock_clean(NULL, NULL, &error));
  NULL_REFUSED(debmock_clean_start(NULL, &operation, &error));
  NULL_REFUSED(debmock_scrub(NULL, DEBMOCK_SCRUB_ALL, NULL, &error));
  NULL_REFUSED(debmock_scrub_start(NULL, DEBMOCK_SCRUB_ALL, &operation, &error));
  NULL_REFUSED(debmock_export(NULL, "x.tar", NULL, NULL, &error));
  NULL_REFUSED(debmock_export_start(NULL, "x.tar", NULL, &operation, &error));
  NULL_REFUSED(debmock_import(NULL, "x.tar", NULL, &error));
  NULL_REFUSED(debmock_import_start(NULL, "x.tar", &operation, &error));
  NULL_REFUSED(debmock_import_layers(NULL, "x.oci.tar", NULL, NULL, &error));
  NULL_REFUSED(debmock_import_layers_start(NULL, "x.oci.tar", &operation, &error));
  NULL_REFUSED(debmock_list(NULL, NULL, &result, &error));
  NULL_REFUSED(debmock_list_start(NULL, &operation, &error));
  NULL_REFUSED(debmock_install(NULL, NULL, NULL, &result, &error));
  NULL_REFUSED(debmock_install_start(NULL, NULL, &operation, &error));
  NULL_REFUSED(debmock_remove(NULL, NULL, NULL, &result, &error));
  NULL_REFUSED(debmock_remove_start(NULL, NULL, &operation, &error));
  NULL_REFUSED(debmock_update(NULL, NULL, &result, &error));
  NULL_REFUSED(debmock_update_start(NULL, &operation, &error));
  NULL_REFUSED(debmock_apt(NULL, NULL, NULL, &result, &error));
  NULL_REFUSED(debmock_apt_start(NULL, NULL, &operation, &error));
  NULL_REFUSED(debmock_rebuild(NULL, NULL, NULL, &result, &error));
  NULL_REFUSED(debmock_rebuild_start(NULL, NULL, &operation, &error));
  NULL_REFUSED(debmock_install_dependencies(NULL, NULL, NULL, &result, &error));
  NULL_REFUSED(debmock_install_dependencies_start(NULL, NULL, &operation, &error));
  NULL_REFUSED(debmock_session_open(NULL, NULL, NULL, &session, &error));
  NULL_REFUSED(debmock_session_open_start(NULL, NULL, &operation, &error));
  NULL_REFUSED(debmock_session_copy_in(NULL, "x", "/x", NULL, &error));
  NULL_REFUSED(debmock_session_copy_in_start(NULL, "x", "/x", &operation, &error));
  NULL_REFUSED(debmock_session_copy_out(NULL, "/x", "x", NULL, &error));
  NULL_REFUSED(debmock_session_copy_out_start(NULL, "/x", "x", &operation, &error));
  NULL_REFUSED(debmock_session_run(NULL, NULL, NULL, &result, &error));
  NULL_REFUSED(debmock_session_run_start(NULL, NULL, &operation, &error));
  NULL_REFUSED(debmock_session_spawn(NULL, NULL, -1, -1, -1, &process, &error));
  NULL_REFUSED(debmock_session_spawn_terminal(NULL, NULL, 24, 80, &process, &error));
  NULL_REFUSED(debmock_process_wait(NULL, 0, &result, &error));
  NULL_REFUSED(debmock_process_signal(NULL, 15, &error));
  NULL_REFUSED(debmock_process_resize(NULL, 24, 80, &error));
  NULL_REFUSED(debmock_operation_next_event(NULL, 0, &event, &error));
  NULL_REFUSED(debmock_operation_cancel(NULL, &error));
  NULL_REFUSED(debmock_operation_wait(NULL, &result, &error));
  NULL_REFUSED(debmock_result_session(NULL, &session, &error));
  NULL_REFUSED(debmock_doctor_start(NULL, NULL, NULL, &error));
  CHECK(!operation && !result && !session && !process && !root && !config && !event && !exists);

  /* the error may be NULL, too */
  CHECK(debmock_init(NULL, NULL, NULL) == DEBMOCK_ERR_USAGE);

  CHECK(debmock_error_status(NULL) == DEBMOCK_OK && debmock_error_exit_code(NULL) == 0);
  CHECK(!debmock_error_message(NULL) && !debmock_error_hint(NULL) && !debmock_error_cause(NULL, 0));
  CHECK(!debmock_config_name(NULL) && !debmock_config_suite(NULL) && !debmock_config_json(NULL));
  CHECK(!debmock_config_distribution(NULL) && !debmock_config_architecture(NULL));
  CHECK(!debmock_config_warning(NULL, 0) && !debmock_config_warning_hint(NULL, 0));
  CHECK(!debmock_buildroot_name(NULL));
  CHECK(debmock_operation_fd(NULL) == -1 && debmock_operation_id(NULL) == 0);
  CHECK(!debmock_operation_finished(NULL));
  CHECK(debmock_process_fd(NULL) == -1 && debmock_process_terminal(NULL) == -1);
  CHECK(debmock_event_kind(NULL) == DEBMOCK_EVENT_OTHER && !debmock_event_json(NULL));
  CHECK(!debmock_event_stage(NULL) && !debmock_event_text(NULL) && !debmock_event_hint(NULL));
  CHECK(!debmock_event_holder(NULL) && !debmock_event_package(NULL) && !debmock_event_version(NULL));
  CHECK(!debmock_event_architecture(NULL) && debmock_event_action(NULL) == 0);
  CHECK(debmock_event_done(NULL) == 0 && debmock_event_total(NULL) == 0);
  CHECK(debmock_event_unit(NULL) == 0 && debmock_event_log(NULL) == 0);
  CHECK(debmock_event_count(NULL) == 0 && debmock_event_sequence(NULL) == 0);
  CHECK(debmock_event_operation(NULL) == 0 && !debmock_event_success(NULL));
  CHECK(!(debmock_event_time(NULL) > 0) && !(debmock_event_elapsed(NULL) > 0));
  CHECK(!(debmock_event_seconds(NULL) > 0));
  CHECK(debmock_result_kind(NULL) == DEBMOCK_RESULT_NONE && !debmock_result_json(NULL));
  CHECK(debmock_result_exit_status(NULL) == -1 && debmock_result_signal(NULL) == 0);
  CHECK(!debmock_result_output(NULL, &size) && size == 0 && !debmock_result_output(NULL, NULL));
  CHECK(!debmock_result_name(NULL) && !debmock_result_version(NULL) && !debmock_result_dir(NULL));
  CHECK(!debmock_result_architecture(NULL) && !debmock_result_changes(NULL));
  CHECK(!debmock_result_buildinfo(NULL) && !debmock_result_package(NULL, 0));
  CHECK(!debmock_error_result(NULL) && !debmock_result_failed_stage(NULL));
  CHECK(!debmock_result_log(NULL, 0) && !(debmock_result_seconds(NULL) > 0));
  CHECK(!(debmock_result_stage_seconds(NULL, NULL) > 0) && !debmock_result_usable(NULL));
  CHECK(debmock_result_installed_count(NULL) == 0 && debmock_result_removed_count(NULL) == 0);
  CHECK(!debmock_cancel_requested(NULL));
  debmock_cancel_request(NULL);

  debmock_error_free(NULL);
  debmock_error_free(&error);
  debmock_config_free(NULL);
  debmock_config_free(&config);
  debmock_buildroot_free(NULL);
  debmock_buildroot_free(&root);
  debmock_session_free(NULL);
  debmock_session_free(&session);
  debmock_process_free(NULL);
  debmock_process_free(&process);
  debmock_operation_free(NULL);
  debmock_operation_free(&operation);
  debmock_event_free(NULL);
  debmock_event_free(&event);
  debmock_result_free(NULL);
  debmock_result_free(&result);
  debmock_cancel_free(NULL);
  debmock_cancel_free(&cancel);
}

static void wrong_configs(char **argv) {
  debmock_error *error = NULL;
  debmock_config *config = NULL;
  debmock_config_options options;
  const char *overrides[] = {"no_such_key=1", NULL};
  REFUSED(DEBMOCK_ERR_CONFIG, debmock_config_load("no-such-config", &config, &error));
  REFUSED(DEBMOCK_ERR_USAGE, debmock_config_load("\xff\xfe", &config, &error));
  REFUSED(DEBMOCK_ERR_CONFIG, debmock_config_load("/nowhere/x.toml", &config, &error));
  ZERO(options);
  options.name = "debian-sid";
  options.path = argv[1];
  REFUSED(DEBMOCK_ERR_USAGE, debmock_config_new(&options, &config, &error));
  ZERO(options);
  options.toml = "suite = [";
  REFUSED(DEBMOCK_ERR_CONFIG, debmock_config_new(&options, &config, &error));
  ZERO(options);
  options.path = argv[1];
  options.overrides = overrides;
  REFUSED(DEBMOCK_ERR_CONFIG, debmock_config_new(&options, &config, &error));
  options.overrides = NULL;
  options.size = 3;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_config_new(&options, &config, &error));
  options.size = 0;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_config_new(&options, &config, &error));
  options.size = (size_t)-8;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_config_new(&options, &config, &error));
  CHECK(config == NULL);

  /* what an error says in parts */
  CHECK(debmock_config_load("no-such-config", &config, &error) == DEBMOCK_ERR_CONFIG);
  CHECK(debmock_error_exit_code(error) == 3);
  CHECK(strncmp(debmock_error_message(error), debmock_error_cause(error, 0),
                strlen(debmock_error_cause(error, 0))) == 0);
  CHECK(debmock_error_cause(error, 99) == NULL);
  debmock_error_free(&error);
}

static void wrong_buildroots(char **argv) {
  debmock_error *error = NULL;
  debmock_buildroot *root = NULL;
  debmock_config *config = load_config(argv);
  debmock_buildroot_options options;
  ZERO(options);
  options.uniqueext = "a/b";
  REFUSED(DEBMOCK_ERR_USAGE, debmock_buildroot_new(config, &options, &root, &error));
  ZERO(options);
  options.cache_dir = "relative";
  REFUSED(DEBMOCK_ERR_USAGE, debmock_buildroot_new(config, &options, &root, &error));
  ZERO(options);
  options.cache_dir = argv[2];
  options.state_dir = argv[3];
  options.helper = "/nowhere/helper";
  REFUSED(DEBMOCK_ERR_HELPER, debmock_buildroot_new(config, &options, &root, &error));
  options.helper = "/bin/true";
  REFUSED(DEBMOCK_ERR_HELPER, debmock_buildroot_new(config, &options, &root, &error));
  CHECK(root == NULL);
  CHECK(debmock_config_warning(config, 99) == NULL);
  CHECK(strstr(debmock_config_json(config), "\"suite\"") != NULL);
  debmock_config_free(&config);
}

static void wrong_calls(debmock_buildroot *root, debmock_session *session) {
  debmock_error *error = NULL;
  debmock_result *result = NULL;
  debmock_process *process = NULL;
  debmock_operation *operation = NULL;
  debmock_session *other = NULL;
  debmock_rebuild_options rebuild;
  debmock_export_options export_options;
  debmock_session_options session_options;
  debmock_run_options run;
  debmock_watch watch;
  struct newer newer;
  const char *none[] = {NULL};
  const char *echo[] = {"true", NULL};
  const char *bad_environment[] = {"NOVALUE", NULL};
  const char *bad_text[] = {"\xff", NULL};

  REFUSED(DEBMOCK_ERR_USAGE, debmock_scrub(root, 0, NULL, &error));
  REFUSED(DEBMOCK_ERR_USAGE, debmock_scrub(root, 1024, NULL, &error));
  REFUSED(DEBMOCK_ERR_USAGE, debmock_install(root, none, NULL, &result, &error));
  REFUSED(DEBMOCK_ERR_USAGE, debmock_install(root, bad_text, NULL, &result, &error));
  REFUSED(DEBMOCK_ERR_USAGE, debmock_export(root, NULL, NULL, NULL, &error));
  REFUSED(DEBMOCK_ERR_USAGE, debmock_export(root, "x.zip", NULL, NULL, &error));
  ZERO(export_options);
  export_options.compression = 9;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_export(root, "x.tar", &export_options, NULL, &error));
  export_options.compression = DEBMOCK_COMPRESSION_NONE;
  export_options.level = 3;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_export(root, "x.tar", &export_options, NULL, &error));
  ZERO(session_options);
  session_options.flags = 1024;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_session_open(root, &session_options, NULL, &other, &error));

  REFUSED(DEBMOCK_ERR_USAGE, debmock_rebuild(root, NULL, NULL, &result, &error));
  ZERO(rebuild);
  REFUSED(DEBMOCK_ERR_USAGE, debmock_rebuild(root, &rebuild, NULL, &result, &error));
  rebuild.source = "Not A Name";
  REFUSED(DEBMOCK_ERR_USAGE, debmock_rebuild(root, &rebuild, NULL, &result, &error));
  rebuild.source = "hello";
  rebuild.build = 1024;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_rebuild(root, &rebuild, NULL, &result, &error));
  rebuild.build = 0;
  rebuild.flags = 1024;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_rebuild(root, &rebuild, NULL, &result, &error));
  rebuild.flags = 0;
  rebuild.cleanup_after = 77;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_rebuild_start(root, &rebuild, &operation, &error));
  rebuild.cleanup_after = 0;
  rebuild.binnmu = (uint64_t)1 << 40;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_rebuild_start(root, &rebuild, &operation, &error));
  rebuild.binnmu = 0;
  rebuild.resultdir = "/proc/nowhere";
  REFUSED(DEBMOCK_ERR_RESULT_DIR, debmock_rebuild(root, &rebuild, NULL, &result, &error));

  ZERO(run);
  run.argv = none;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_session_run(session, &run, NULL, &result, &error));
  run.argv = echo;
  run.environment = bad_environment;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_session_run(session, &run, NULL, &result, &error));
  run.environment = NULL;
  run.flags = 1024;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_session_run(session, &run, NULL, &result, &error));
  run.flags = 0;
  run.wall_limit = -1;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_session_run(session, &run, NULL, &result, &error));
  run.wall_limit = 0;
  REFUSED(DEBMOCK_ERR_IO, debmock_session_spawn(session, &run, 1000, -1, -1, &process, &error));
  REFUSED(DEBMOCK_ERR_USAGE, debmock_session_copy_in(session, NULL, "/x", NULL, &error));
  REFUSED(DEBMOCK_ERR_USAGE, debmock_session_copy_in(session, "/x", NULL, NULL, &error));
  REFUSED(DEBMOCK_ERR_IO, debmock_session_copy_in(session, "/no/such/file", "/x", NULL, &error));
  REFUSED(DEBMOCK_ERR_BUILDROOT, debmock_session_copy_out(session, "/nope", "x", NULL, &error));
  ZERO(watch);
  watch.size = 12;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_session_run(session, &run, &watch, &result, &error));
  CHECK(!result && !process && !operation && !other);

  /* a longer struct is fine as long as what is unknown in it is zero */
  memset(&newer, 0, sizeof newer);
  newer.known.size = sizeof newer;
  newer.known.argv = echo;
  GOOD(debmock_session_run(session, &newer.known, NULL, &result, &error));
  debmock_result_free(&result);
  newer.unknown = 1;
  REFUSED(DEBMOCK_ERR_USAGE, debmock_session_run(session, &newer.known, NULL, &result, &error));
  /* so is a shorter one */
  run.size = offsetof(debmock_run_options, environment);
  GOOD(debmock_session_run(session, &run, NULL, &result, &error));
  CHECK(debmock_result_exit_status(result) == 0);

  /* what this kind of result does not have */
  CHECK(!debmock_result_name(result) && !debmock_result_package(result, 0));
  CHECK(debmock_result_installed_count(result) == 0 && !debmock_result_usable(result));
  REFUSED(DEBMOCK_ERR_USAGE, debmock_result_session(result, &other, &error));
  debmock_result_free(&result);
}

/* Handles live without those that they came of. */
static void any_order(int argc, char **argv) {
  debmock_error *error = NULL;
  debmock_buildroot *root = open_root(argc, argv, "order");
  debmock_operation *opening = NULL, *running = NULL;
  debmock_session *first = NULL, *second = NULL;
  debmock_result *opened = NULL, *ended = NULL;
  debmock_process *process = NULL;
  debmock_run_options run;
  const char *echo[] = {"echo", "alive", NULL};
  const char *endless[] = {"sleep", "1000", NULL};

  GOOD(debmock_session_open_start(root, NULL, &opening, &error));
  debmock_buildroot_free(&root);
  GOOD(debmock_operation_wait(opening, &opened, &error));
  debmock_operation_free(&opening);
  CHECK(debmock_result_kind(opened) == DEBMOCK_RESULT_SESSION);
  GOOD(debmock_result_session(opened, &first, &error));
  GOOD(debmock_result_session(opened, &second, &error));
  debmock_result_free(&opened);
  debmock_session_free(&first);

  ZERO(run);
  run.argv = endless;
  GOOD(debmock_session_spawn(second, &run, -1, -1, -1, &process, &error));
  run.argv = echo;
  run.capture = 100;
  GOOD(debmock_session_run_start(second, &run, &running, &error));
  debmock_session_free(&second);
  GOOD(debmock_operation_wait(running, &ended, &error));
  debmock_operation_free(&running);
  CHECK(printed(ended, "alive\n"));

  GOOD(debmock_process_signal(process, 15, &error));
  REFUSED(DEBMOCK_ERR_USAGE, debmock_process_signal(process, 0, &error));
  REFUSED(DEBMOCK_ERR_USAGE, debmock_process_signal(process, 500, &error));
  REFUSED(DEBMOCK_ERR_USAGE, debmock_process_resize(process, 24, 80, &error));
  debmock_result_free(&ended);
  GOOD(debmock_process_wait(process, -1, &ended, &error));
  CHECK(debmock_result_signal(ended) == 15);
  debmock_result_free(&ended);
  /* as often as one likes */
  GOOD(debmock_process_wait(process, 0, &ended, &error));
  debmock_process_free(&process);
  CHECK(debmock_result_signal(ended) == 15);
  debmock_result_free(&ended);
}

int main(int argc, char **argv) {
  debmock_buildroot *root;
  debmock_session *session;
  null_everywhere();
  CHECK(argc >= 4);
  wrong_configs(argv);
  wrong_buildroots(argv);
  root = open_root(argc, argv, "c");
  session = open_session(root);
  wrong_calls(root, session);
  debmock_buildroot_free(&root);
  debmock_session_free(&session);
  any_order(argc, argv);
  puts("ok");
  return 0;
}
