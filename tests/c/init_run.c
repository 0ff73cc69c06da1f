/* Makes a buildroot, with its events to a callback, and runs commands in it. */
#include "test.h"

struct seen {
  int started, finished, lines;
  uint64_t last;
};

static void on_event(const debmock_event *event, void *user_data) {
  struct seen *seen = (struct seen *)user_data;
  CHECK(debmock_event_operation(event) != 0);
  CHECK(debmock_event_json(event)[0] == '{');
  CHECK(debmock_event_time(event) > 1e9 && debmock_event_elapsed(event) >= 0);
  seen->last = debmock_event_sequence(event);
  switch (debmock_event_kind(event)) {
  case DEBMOCK_EVENT_STAGE_STARTED:
    CHECK(debmock_event_stage(event) != NULL && debmock_event_text(event) != NULL);
    seen->started++;
    break;
  case DEBMOCK_EVENT_STAGE_FINISHED:
    CHECK(debmock_event_success(event) && debmock_event_seconds(event) >= 0);
    seen->finished++;
    break;
  case DEBMOCK_EVENT_LOG_LINE:
    if (debmock_event_log(event) == DEBMOCK_LOG_COMMAND) {
      CHECK(strcmp(debmock_event_text(event), "hello from inside") == 0);
      seen->lines++;
    }
    break;
  }
}

int main(int argc, char **argv) {
  debmock_error *error = NULL;
  debmock_buildroot *root = open_root(argc, argv, "c");
  debmock_session *session = NULL;
  debmock_result *result = NULL;
  struct seen seen = {0, 0, 0, 0};
  debmock_watch watch;
  debmock_run_options run;
  bool exists = true;
  const char *hello[] = {"sh", "-c", "echo hello $PLACE; exit 3", NULL};
  const char *killed[] = {"sh", "-c", "kill -9 $$", NULL};
  const char *environment[] = {"PLACE=from inside", NULL};
  const char *missing[] = {"no-such-program", NULL};

  CHECK(debmock_abi_version() == DEBMOCK_ABI_VERSION);
  GOOD(debmock_buildroot_exists(root, &exists, &error));
  CHECK(!exists);
  ZERO(watch);
  watch.on_event = on_event;
  watch.user_data = &seen;
  GOOD(debmock_init(root, &watch, &error));
  CHECK(seen.started > 0 && seen.started == seen.finished && seen.last > 0);
  GOOD(debmock_buildroot_exists(root, &exists, &error));
  CHECK(exists);

  GOOD(debmock_session_open(root, NULL, &watch, &session, &error));
  ZERO(run);
  run.argv = hello;
  run.environment = environment;
  run.capture = 1000;
  GOOD(debmock_session_run(session, &run, &watch, &result, &error));
  CHECK(debmock_result_kind(result) == DEBMOCK_RESULT_EXIT);
  CHECK(debmock_result_exit_status(result) == 3 && debmock_result_signal(result) == 0);
  CHECK(printed(result, "hello from inside\n"));
  CHECK(seen.lines == 1);
  debmock_result_free(&result);

  run.capture = 5;
  REFUSED(DEBMOCK_ERR_UNEXPECTED, debmock_session_run(session, &run, NULL, &result, &error));
  CHECK(result == NULL);
  run.capture = 0;
  run.argv = killed;
  GOOD(debmock_session_run(session, &run, NULL, &result, &error));
  CHECK(debmock_result_exit_status(result) == -1 && debmock_result_signal(result) == 9);
  debmock_result_free(&result);
  run.argv = missing;
  REFUSED(DEBMOCK_ERR_EXEC, debmock_session_run(session, &run, NULL, NULL, &error));

  /* while it is open, in this process, nothing may be taken away */
  REFUSED(DEBMOCK_ERR_BUSY, debmock_clean(root, NULL, &error));
  debmock_session_free(&session);
  GOOD(debmock_clean(root, NULL, &error));
  debmock_buildroot_free(&root);
  puts("ok");
  return 0;
}
