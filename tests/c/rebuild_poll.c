/* Rebuilds a source package with its events in a poll loop: PROGRAM CONFIG CACHE STATE SOURCE
 * RESULTDIR [VERDICT], where VERDICT is "fails" for a package that does not build. */
#include "test.h"
#include <poll.h>
#include <unistd.h>

int main(int argc, char **argv) {
  debmock_error *error = NULL;
  debmock_buildroot *root = open_root(argc, argv, "c");
  debmock_operation *operation = NULL;
  debmock_result *result = NULL;
  debmock_event *event = NULL;
  debmock_rebuild_options options;
  struct pollfd ready;
  int lines = 0, packages = 0, stages = 0, fails = argc == 7 && strcmp(argv[6], "fails") == 0;
  size_t index;
  CHECK(argc >= 6);

  ZERO(options);
  options.source = argv[4];
  options.resultdir = argv[5];
  options.flags = DEBMOCK_REBUILD_NOCHECK;
  GOOD(debmock_rebuild_start(root, &options, &operation, &error));
  debmock_buildroot_free(&root);
  ready.fd = debmock_operation_fd(operation);
  ready.events = POLLIN;
  while (!debmock_operation_finished(operation)) {
    CHECK(poll(&ready, 1, -1) == 1);
    for (;;) {
      GOOD(debmock_operation_next_event(operation, 0, &event, &error));
      if (event == NULL)
        break;
      switch (debmock_event_kind(event)) {
      case DEBMOCK_EVENT_LOG_LINE:
        lines += debmock_event_log(event) == DEBMOCK_LOG_BUILD;
        break;
      case DEBMOCK_EVENT_PACKAGE:
        CHECK(debmock_event_package(event) && debmock_event_version(event));
        CHECK(debmock_event_architecture(event) && debmock_event_action(event) != 0);
        packages++;
        break;
      case DEBMOCK_EVENT_STAGE_STARTED:
        stages += strcmp(debmock_event_stage(event), "build") == 0;
        break;
      }
      debmock_event_free(&event);
    }
  }
  CHECK(lines > 0 && stages == 1);
  /* the package that fails comes second: a layer has what the first one needed */
  CHECK(packages > 0 || fails);
  if (fails) {
    CHECK(debmock_operation_wait(operation, &result, &error) == DEBMOCK_ERR_BUILD);
    CHECK(result == NULL && error != NULL);
    CHECK(strcmp(debmock_result_failed_stage(debmock_error_result(error)), "build") == 0);
    CHECK(access(debmock_result_log(debmock_error_result(error), 0), R_OK) == 0);
    CHECK(debmock_result_package(debmock_error_result(error), 0) == NULL);
    debmock_error_free(&error);
  } else {
    GOOD(debmock_operation_wait(operation, &result, &error));
    CHECK(debmock_result_kind(result) == DEBMOCK_RESULT_BUILD);
    printf("%s %s\n", debmock_result_name(result), debmock_result_version(result));
    for (index = 0; debmock_result_package(result, index) != NULL; index++)
      CHECK(access(debmock_result_package(result, index), R_OK) == 0);
    CHECK(index > 0);
    for (index = 0; debmock_result_log(result, index) != NULL; index++)
      CHECK(access(debmock_result_log(result, index), R_OK) == 0);
    CHECK(index > 0);
    CHECK(access(debmock_result_changes(result), R_OK) == 0);
    CHECK(access(debmock_result_buildinfo(result), R_OK) == 0);
    CHECK(strcmp(debmock_result_dir(result), argv[5]) == 0);
    CHECK(debmock_result_failed_stage(result) == NULL);
    CHECK(debmock_result_stage_seconds(result, "build") > 0);
    CHECK(debmock_result_seconds(result) > debmock_result_stage_seconds(result, "build"));
    CHECK(!(debmock_result_stage_seconds(result, "no such stage") > 0));
    debmock_result_free(&result);
  }
  debmock_operation_free(&operation);
  puts("ok");
  return 0;
}
