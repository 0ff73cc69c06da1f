/* A program inside with pipes, and one with a terminal of its own, in a poll loop. */
#include "test.h"
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

/* Reads a descriptor until text has come. */
static void until(int fd, const char *text) {
  char buffer[4096];
  size_t have = 0;
  while (have < sizeof buffer - 1) {
    ssize_t count = read(fd, buffer + have, sizeof buffer - 1 - have);
    CHECK(count > 0);
    have += (size_t)count;
    buffer[have] = 0;
    if (strstr(buffer, text) != NULL)
      return;
  }
  CHECK(!"it did not come");
}

static void type(int fd, const char *text) {
  CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void with_pipes(debmock_session *session) {
  debmock_error *error = NULL;
  debmock_process *process = NULL;
  debmock_result *result = NULL;
  debmock_run_options run;
  struct pollfd ended;
  int in[2], out[2];
  const char *cat[] = {"cat", NULL};
  CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
  ZERO(run);
  run.argv = cat;
  GOOD(debmock_session_spawn(session, &run, in[0], out[1], -1, &process, &error));
  CHECK(debmock_process_terminal(process) == -1);
  GOOD(debmock_process_wait(process, 50, &result, &error));
  CHECK(result == NULL);
  type(in[1], "through the root\n");
  until(out[0], "through the root\n");
  close(in[0]);
  close(in[1]);
  ended.fd = debmock_process_fd(process);
  ended.events = POLLIN;
  CHECK(fcntl(ended.fd, F_GETFD) & FD_CLOEXEC);
  CHECK(poll(&ended, 1, 20000) == 1);
  GOOD(debmock_process_wait(process, 0, &result, &error));
  CHECK(debmock_result_exit_status(result) == 0);
  debmock_result_free(&result);
  debmock_process_free(&process);
  close(out[0]);
  close(out[1]);
}

static void on_terminal(debmock_session *session) {
  debmock_error *error = NULL;
  debmock_process *process = NULL;
  debmock_result *result = NULL;
  debmock_run_options run;
  int terminal;
  /* without argv: a login shell */
  ZERO(run);
  GOOD(debmock_session_spawn_terminal(session, &run, 24, 80, &process, &error));
  terminal = debmock_process_terminal(process);
  CHECK(terminal >= 0 && (fcntl(terminal, F_GETFD) & FD_CLOEXEC));
  /* the terminal gives back what is typed, but not so */
  type(terminal, "case $(tty) in /dev/pts/*) echo $((6*7)) is it;; esac\n");
  until(terminal, "42 is it");
  GOOD(debmock_process_resize(process, 50, 132, &error));
  type(terminal, "exit 5\n");
  GOOD(debmock_process_wait(process, -1, &result, &error));
  CHECK(debmock_result_exit_status(result) == 5);
  debmock_result_free(&result);
  debmock_process_free(&process);
}

static void ways_out(debmock_session *session) {
  debmock_error *error = NULL;
  debmock_process *process = NULL;
  debmock_run_options run;
  int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  CHECK(folder >= 0 && master >= 0);
  ZERO(run);
  REFUSED(DEBMOCK_ERR_USAGE, debmock_session_spawn(session, &run, folder, -1, -1, &process, &error));
  REFUSED(DEBMOCK_ERR_USAGE, debmock_session_spawn(session, &run, -1, master, -1, &process, &error));
  CHECK(process == NULL);
  close(folder);
  close(master);
}

int main(int argc, char **argv) {
  debmock_buildroot *root = open_root(argc, argv, "c");
  debmock_session *session = open_session(root);
  with_pipes(session);
  on_terminal(session);
  ways_out(session);
  debmock_session_free(&session);
  debmock_buildroot_free(&root);
  puts("ok");
  return 0;
}
