/* Handles in a forked child: every call is refused, freeing closes descriptors and nothing else,
 * and the parent goes on. No descriptor or thread of ours is left at the end. */
#include "test.h"
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static int entries(const char *folder) {
  DIR *directory = opendir(folder);
  int count = 0;
  CHECK(directory != NULL);
  while (readdir(directory) != NULL)
    count++;
  closedir(directory);
  return count;
}

/* Kills the helper. */
static void kill_children(void) {
  FILE *file;
  char path[100];
  int child, count = 0;
  snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
  file = fopen(path, "r");
  CHECK(file != NULL);
  while (fscanf(file, "%d", &child) == 1) {
    CHECK(kill(child, SIGKILL) == 0);
    count++;
  }
  fclose(file);
  CHECK(count > 0);
}

int main(int argc, char **argv) {
  debmock_error *error = NULL;
  debmock_buildroot *root;
  debmock_session *session;
  debmock_operation *operation = NULL;
  debmock_process *process = NULL;
  debmock_result *result = NULL;
  debmock_event *event = NULL;
  debmock_run_options run;
  struct sigaction before, after;
  sigset_t mask_before, mask_after;
  int threads = entries("/proc/self/task"), descriptors = entries("/proc/self/fd");
  int status = -1, number;
  pid_t child;
  const char *endless[] = {"sleep", "1000", NULL};
  const char *echo[] = {"echo", "here", NULL};

  CHECK(sigaction(SIGPIPE, NULL, &before) == 0 && sigprocmask(SIG_BLOCK, NULL, &mask_before) == 0);
  /* nobody may wait for our children behind our back */
  signal(SIGCHLD, SIG_IGN);
  root = open_root(argc, argv, "c");
  session = open_session(root);
  ZERO(run);
  run.argv = endless;
  GOOD(debmock_session_run_start(session, &run, &operation, &error));
  GOOD(debmock_session_spawn(session, &run, -1, -1, -1, &process, &error));

  signal(SIGCHLD, SIG_DFL);
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    bool exists;
    alarm(20);
    REFUSED(DEBMOCK_ERR_FORKED, debmock_operation_next_event(operation, -1, &event, &error));
    REFUSED(DEBMOCK_ERR_FORKED, debmock_operation_cancel(operation, &error));
    REFUSED(DEBMOCK_ERR_FORKED, debmock_operation_wait(operation, &result, &error));
    CHECK(debmock_operation_fd(operation) == -1 && !debmock_operation_finished(operation));
    REFUSED(DEBMOCK_ERR_FORKED, debmock_buildroot_exists(root, &exists, &error));
    REFUSED(DEBMOCK_ERR_FORKED, debmock_init(root, NULL, &error));
    REFUSED(DEBMOCK_ERR_FORKED, debmock_session_run(session, &run, NULL, &result, &error));
    REFUSED(DEBMOCK_ERR_FORKED, debmock_process_signal(process, 9, &error));
    REFUSED(DEBMOCK_ERR_FORKED, debmock_process_wait(process, 0, &result, &error));
    debmock_operation_free(&operation);
    debmock_process_free(&process);
    debmock_session_free(&session);
    debmock_buildroot_free(&root);
    /* not by exit: what belongs to the parent is not ours to account for */
    execl("/bin/true", "true", (char *)NULL);
    _exit(1);
  }
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  GOOD(debmock_process_wait(process, 0, &result, &error));
  CHECK(result == NULL);

  GOOD(debmock_operation_cancel(operation, &error));
  REFUSED(DEBMOCK_ERR_CANCELLED, debmock_operation_wait(operation, &result, &error));
  debmock_operation_free(&operation);
  run.argv = echo;
  run.capture = 100;
  GOOD(debmock_session_run(session, &run, NULL, &result, &error));
  CHECK(printed(result, "here\n"));
  debmock_result_free(&result);

  /* with SIGPIPE at its default a helper that is gone is an error, not the end of this process */
  kill_children();
  /* process 1 of the session ends right after the helper, not with it */
  for (number = 0; number < 500; number++) {
    if (debmock_session_run(session, &run, NULL, &result, NULL) != DEBMOCK_OK) break;
    debmock_result_free(&result);
    poll(NULL, 0, 10);
  }
  REFUSED(DEBMOCK_ERR_HELPER, debmock_session_run(session, &run, NULL, &result, &error));
  CHECK(debmock_session_copy_in(session, argv[1], "/srv", NULL, NULL) != DEBMOCK_OK);
  CHECK(debmock_session_copy_in(session, argv[2], "/srv", NULL, NULL) != DEBMOCK_OK);
  debmock_process_free(&process);
  debmock_session_free(&session);
  debmock_buildroot_free(&root);

  CHECK(sigaction(SIGPIPE, NULL, &after) == 0 && sigprocmask(SIG_BLOCK, NULL, &mask_after) == 0);
  CHECK(before.sa_handler == after.sa_handler);
  for (number = 1; number < 32; number++)
    CHECK(sigismember(&mask_before, number) == sigismember(&mask_after, number));
  CHECK(entries("/proc/self/task") == threads && entries("/proc/self/fd") == descriptors);
  puts("ok");
  return 0;
}
