/* All that the command line can do with a buildroot but builds: PROGRAM CONFIG CACHE STATE PACKAGE
 * FOLDER, where PACKAGE is one of the archive. */
#include "test.h"
#include <poll.h>

/* Follows an operation to its end by its descriptor. */
static int follow(debmock_operation *operation) {
  debmock_error *error = NULL;
  int events = 0;
  struct pollfd ready;
  ready.fd = debmock_operation_fd(operation);
  ready.events = POLLIN;
  CHECK(ready.fd >= 0);
  while (!debmock_operation_finished(operation)) {
    debmock_event *event = NULL;
    CHECK(poll(&ready, 1, 60000) == 1);
    do {
      debmock_event_free(&event);
      GOOD(debmock_operation_next_event(operation, 0, &event, &error));
      if (event != NULL) {
        CHECK(debmock_event_operation(event) == debmock_operation_id(operation));
        events++;
      }
    } while (event != NULL);
  }
  return events;
}

static void write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

int main(int argc, char **argv) {
  debmock_error *error = NULL;
  debmock_buildroot *root = open_root(argc, argv, "day");
  debmock_session *session = NULL;
  debmock_operation *operation = NULL;
  debmock_result *result = NULL;
  debmock_config *config = load_config(argv);
  debmock_run_options run;
  char path[4096], tar[4096], line[64] = "";
  FILE *file;
  const char *packages[] = {NULL, NULL};
  const char *words[] = {"--simulate", "install", NULL, NULL};
  const char *cat[] = {"cat", "/srv/note", NULL};
  CHECK(argc == 6);
  packages[0] = words[2] = argv[4];

  GOOD(debmock_doctor(config, NULL, NULL, &result, &error));
  CHECK(debmock_result_usable(result));
  CHECK(strstr(debmock_result_json(result), "\"modes\"") != NULL);
  debmock_result_free(&result);
  GOOD(debmock_doctor_start(config, NULL, &operation, &error));
  follow(operation);
  debmock_operation_free(&operation);
  debmock_config_free(&config);
  GOOD(debmock_configs(NULL, &result, &error));
  CHECK(strstr(debmock_result_json(result), "debian-trixie") != NULL);
  debmock_result_free(&result);
  GOOD(debmock_configs_start(&operation, &error));
  debmock_operation_free(&operation);

  GOOD(debmock_init_start(root, &operation, &error));
  CHECK(follow(operation) > 0);
  GOOD(debmock_operation_wait(operation, &result, &error));
  CHECK(debmock_result_kind(result) == DEBMOCK_RESULT_NONE);
  debmock_result_free(&result);
  debmock_operation_free(&operation);

  GOOD(debmock_update(root, NULL, &result, &error));
  CHECK(debmock_result_kind(result) == DEBMOCK_RESULT_PLAN);
  debmock_result_free(&result);
  GOOD(debmock_apt(root, words, NULL, &result, &error));
  debmock_result_free(&result);
  GOOD(debmock_install_start(root, packages, &operation, &error));
  CHECK(follow(operation) > 0);
  GOOD(debmock_operation_wait(operation, &result, &error));
  CHECK(debmock_result_installed_count(result) == 1 && debmock_result_removed_count(result) == 0);
  CHECK(strstr(debmock_result_json(result), argv[4]) != NULL);
  debmock_result_free(&result);
  debmock_operation_free(&operation);
  GOOD(debmock_remove(root, packages, NULL, &result, &error));
  CHECK(debmock_result_installed_count(result) == 0 && debmock_result_removed_count(result) == 1);
  debmock_result_free(&result);
  packages[0] = "no-such-package";
  REFUSED(DEBMOCK_ERR_DEPENDENCY, debmock_install(root, packages, NULL, &result, &error));

  snprintf(path, sizeof path, "%s/note", argv[5]);
  write_file(path, "remember\n");
  session = open_session(root);
  GOOD(debmock_session_copy_in(session, path, "/srv", NULL, &error));
  CHECK(remove(path) == 0);
  GOOD(debmock_session_copy_out_start(session, "/srv/note", argv[5], &operation, &error));
  GOOD(debmock_operation_wait(operation, NULL, &error));
  debmock_operation_free(&operation);
  file = fopen(path, "r");
  CHECK(file != NULL && fgets(line, sizeof line, file) != NULL && fclose(file) == 0);
  CHECK(strcmp(line, "remember\n") == 0);
  debmock_session_free(&session);

  snprintf(tar, sizeof tar, "%s/root.oci.tar", argv[5]);
  GOOD(debmock_export(root, tar, NULL, NULL, &error));
  GOOD(debmock_import_layers(root, tar, NULL, &result, &error));
  CHECK(debmock_result_kind(result) == DEBMOCK_RESULT_LIST);
  CHECK(strstr(debmock_result_json(result), "\"layers\":[\"base-") != NULL);
  debmock_result_free(&result);
  snprintf(tar, sizeof tar, "%s/root.tar.zst", argv[5]);
  GOOD(debmock_export(root, tar, NULL, NULL, &error));
  GOOD(debmock_clean(root, NULL, &error));
  GOOD(debmock_import(root, tar, NULL, &error));
  session = open_session(root);
  ZERO(run);
  run.argv = cat;
  run.capture = 100;
  GOOD(debmock_session_run(session, &run, NULL, &result, &error));
  CHECK(printed(result, "remember\n"));
  debmock_result_free(&result);
  debmock_session_free(&session);

  GOOD(debmock_list(root, NULL, &result, &error));
  CHECK(strstr(debmock_result_json(result), debmock_buildroot_name(root)) != NULL);
  debmock_result_free(&result);
  GOOD(debmock_scrub(root, DEBMOCK_SCRUB_ALL, NULL, &error));
  GOOD(debmock_list(root, NULL, &result, &error));
  CHECK(strstr(debmock_result_json(result), "\"buildroots\":[]") != NULL);
  debmock_result_free(&result);
  debmock_buildroot_free(&root);
  puts("ok");
  return 0;
}
