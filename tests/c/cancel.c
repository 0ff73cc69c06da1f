/* Stops calls from another thread: a blocking one by its token, a started one by its handle, and
 * one by freeing it. The buildroot can be used afterwards. */
#include "test.h"
#include <pthread.h>
#include <poll.h>

static debmock_cancel *token;
static debmock_operation *operation;

static void *request(void *unused) {
  poll(NULL, 0, 300);
  debmock_cancel_request(token);
  return unused;
}

static void *cancel(void *unused) {
  debmock_error *error = NULL;
  poll(NULL, 0, 300);
  GOOD(debmock_operation_cancel(operation, &error));
  return unused;
}

int main(int argc, char **argv) {
  debmock_error *error = NULL;
  debmock_buildroot *root = open_root(argc, argv, "c");
  debmock_session *session = open_session(root);
  debmock_result *result = NULL;
  debmock_watch watch;
  debmock_run_options run;
  pthread_t thread;
  const char *endless[] = {"sleep", "1000", NULL};
  const char *echo[] = {"echo", "still here", NULL};

  token = debmock_cancel_new();
  CHECK(token != NULL && !debmock_cancel_requested(token));
  ZERO(watch);
  watch.cancel = token;
  ZERO(run);
  run.argv = endless;
  CHECK(pthread_create(&thread, NULL, request, NULL) == 0);
  REFUSED(DEBMOCK_ERR_CANCELLED, debmock_session_run(session, &run, &watch, &result, &error));
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(debmock_cancel_requested(token));
  /* a token that was used stops the next call, too */
  REFUSED(DEBMOCK_ERR_CANCELLED, debmock_session_run(session, &run, &watch, &result, &error));
  debmock_cancel_free(&token);

  GOOD(debmock_session_run_start(session, &run, &operation, &error));
  CHECK(pthread_create(&thread, NULL, cancel, NULL) == 0);
  REFUSED(DEBMOCK_ERR_CANCELLED, debmock_operation_wait(operation, &result, &error));
  CHECK(pthread_join(thread, NULL) == 0);
  REFUSED(DEBMOCK_ERR_USAGE, debmock_operation_wait(operation, &result, &error));
  debmock_operation_free(&operation);

  /* freeing one that works stops it; the session is still there */
  GOOD(debmock_session_run_start(session, &run, &operation, &error));
  debmock_operation_free(&operation);
  run.argv = echo;
  run.capture = 100;
  GOOD(debmock_session_run(session, &run, NULL, &result, &error));
  CHECK(printed(result, "still here\n"));
  debmock_result_free(&result);

  /* limits */
  run.argv = endless;
  run.wall_limit = 0.2;
  REFUSED(DEBMOCK_ERR_TIMEOUT, debmock_session_run(session, &run, NULL, &result, &error));
  debmock_session_free(&session);
  debmock_buildroot_free(&root);
  puts("ok");
  return 0;
}
