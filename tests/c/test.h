/* What the programs of this folder share. Each is called as PROGRAM CONFIG CACHE STATE [MORE…],
 * where CONFIG is a TOML file, compiles as C11 and as C++17, and succeeds if everything is as it
 * says. */
#ifndef TEST_H
#define TEST_H

#include <debmock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: this is not so: %s\n", __FILE__, __LINE__, #condition);              \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

/* The call, whose last argument is &error, succeeds. */
#define GOOD(call)                                                                                 \
  do {                                                                                             \
    int32_t status_ = (call);                                                                      \
    if (status_ != DEBMOCK_OK) {                                                                   \
      const char *hint_ = debmock_error_hint(error);                                               \
      fprintf(stderr, "%s:%d: %s gives %d: %s (%s)\n", __FILE__, __LINE__, #call, (int)status_,    \
              debmock_error_message(error), hint_ ? hint_ : "no hint");                            \
      exit(1);                                                                                     \
    }                                                                                              \
    CHECK(error == NULL);                                                                          \
  } while (0)

/* The call, whose last argument is &error, gives that status and an error that says why. */
#define REFUSED(status, call)                                                                      \
  do {                                                                                             \
    int32_t status_ = (call);                                                                      \
    if (status_ != (status)) {                                                                     \
      fprintf(stderr, "%s:%d: %s gives %d: %s\n", __FILE__, __LINE__, #call, (int)status_,         \
              error ? debmock_error_message(error) : "no error");                                  \
      exit(1);                                                                                     \
    }                                                                                              \
    CHECK(error != NULL && debmock_error_status(error) == status_);                                \
    CHECK(strlen(debmock_error_message(error)) > 0);                                               \
    debmock_error_free(&error);                                                                    \
    CHECK(error == NULL);                                                                          \
  } while (0)

#define ZERO(options)                                                                              \
  do {                                                                                             \
    memset(&(options), 0, sizeof(options));                                                        \
    (options).size = sizeof(options);                                                              \
  } while (0)

static inline debmock_config *load_config(char **argv) {
  debmock_error *error = NULL;
  debmock_config *config = NULL;
  debmock_config_options options;
  ZERO(options);
  options.path = argv[1];
  GOOD(debmock_config_new(&options, &config, &error));
  return config;
}

static inline debmock_buildroot *open_root(int argc, char **argv, const char *uniqueext) {
  debmock_error *error = NULL;
  debmock_buildroot *root = NULL;
  debmock_config *config;
  debmock_buildroot_options options;
  CHECK(argc >= 4);
  config = load_config(argv);
  ZERO(options);
  options.uniqueext = uniqueext;
  options.cache_dir = argv[2];
  options.state_dir = argv[3];
  GOOD(debmock_buildroot_new(config, &options, &root, &error));
  debmock_config_free(&config);
  return root;
}

static inline debmock_session *open_session(debmock_buildroot *root) {
  debmock_error *error = NULL;
  debmock_session *session = NULL;
  GOOD(debmock_session_open(root, NULL, NULL, &session, &error));
  return session;
}

/* Whether a result is how a program ended that printed exactly this. */
static inline int printed(const debmock_result *result, const char *text) {
  size_t size = 0;
  const uint8_t *output = debmock_result_output(result, &size);
  return output != NULL && size == strlen(text) && memcmp(output, text, size) == 0;
}

#endif
