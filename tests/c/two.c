/* Two threads, each with a buildroot of its own, and two that share one. */
#include "test.h"
#include <pthread.h>

static int arguments;
static char **words;
static debmock_session *shared;

static void say(debmock_session *session, const char *text) {
  debmock_error *error = NULL;
  debmock_result *result = NULL;
  debmock_run_options run;
  const char *echo[] = {"printf", "%s", NULL, NULL};
  int count;
  echo[2] = text;
  for (count = 0; count < 20; count++) {
    ZERO(run);
    run.argv = echo;
    run.capture = 100;
    GOOD(debmock_session_run(session, &run, NULL, &result, &error));
    CHECK(printed(result, text));
    debmock_result_free(&result);
  }
}

static void *own(void *name) {
  debmock_error *error = NULL;
  debmock_buildroot *root = open_root(arguments, words, (const char *)name);
  debmock_session *session;
  GOOD(debmock_init(root, NULL, &error));
  session = open_session(root);
  debmock_buildroot_free(&root);
  say(session, (const char *)name);
  debmock_session_free(&session);
  return NULL;
}

static void *together(void *text) {
  say(shared, (const char *)text);
  return NULL;
}

static void both(void *(*work)(void *)) {
  char names[2][8] = {"one", "two"};
  pthread_t threads[2];
  int index;
  for (index = 0; index < 2; index++)
    CHECK(pthread_create(&threads[index], NULL, work, names[index]) == 0);
  for (index = 0; index < 2; index++)
    CHECK(pthread_join(threads[index], NULL) == 0);
}

int main(int argc, char **argv) {
  debmock_buildroot *root;
  arguments = argc;
  words = argv;
  both(own);
  root = open_root(argc, argv, "one");
  shared = open_session(root);
  both(together);
  debmock_session_free(&shared);
  debmock_buildroot_free(&root);
  puts("ok");
  return 0;
}
