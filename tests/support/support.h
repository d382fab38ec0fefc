/* What the tests share: real servers, a small RESP client that is not the
 * library under test, a proxy that misbehaves on demand, a server that answers
 * wrongly on demand, child processes, and waiting for conditions.
 *
 * Plain C, usable from cmocka and from GoogleTest.  All functions may be called
 * from any thread.  What goes wrong inside the harness is printed to standard
 * error, and the call answers NULL or 0 (false).  Texts returned without a
 * "free" in their comment belong to the object and live as long as it does.
 *
 * Everything that is started here ends when the test process ends, however it
 * ends; directories of killed tests are removed by the next test that runs. */
#ifndef PULSEENGINE_TESTS_SUPPORT_H
#define PULSEENGINE_TESTS_SUPPORT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Long enough for the slowest machine and the slowest sanitizer.  Only a test
 * that fails ever waits for so long. */
#define TS_DEADLINE_MS 60000

/* ---- time, scale, limits -------------------------------------------------- */

/* Milliseconds of a clock that never goes backwards. */
int64_t ts_now_ms(void);

/* Calls condition(context) again and again until it answers nonzero: 1, or 0
 * when the deadline (from now) has passed. */
int ts_wait_until(int (*condition)(void* context), void* context, int64_t deadline_ms);

/* Blocks this thread.  Not for waiting until something has happened: that is
 * ts_wait_until. */
void ts_pause_ms(int64_t milliseconds);

/* `count` times $PULSE_TEST_SCALE (default 1), at least 1: for long loops. */
int64_t ts_scaled(int64_t count);

/* 1 in builds with -fsanitize=address or thread. */
int ts_is_sanitized(void);

/* Of this process, as of now. */
int ts_descriptor_count(void);
int ts_thread_count(void);
int64_t ts_resident_bytes(void);

/* ---- child processes ------------------------------------------------------ */

typedef struct ts_process ts_process;

enum {
  TS_PIPE_IN = 1,  /* else /dev/null */
  TS_PIPE_OUT = 2, /* else that of the test */
  TS_PIPE_ERR = 4  /* else that of the test */
};

/* Starts argv[0] (looked up in PATH) with NULL-terminated argv.  `environment`
 * (may be NULL) is NULL-terminated "NAME=value", added to that of the test;
 * "NAME" alone takes a variable away. */
ts_process* ts_process_start(const char* const* argv, const char* const* environment, int pipes);

/* The path of the running test program, to start it again in another role. */
const char* ts_self_path(void);

pid_t ts_process_pid(const ts_process* process);

/* Sends a signal; 0 when the process is gone. */
int ts_process_signal(ts_process* process, int signal_number);

/* Waits for the end: the exit status, 128 + signal when a signal ended it, or
 * -1 when it still runs at the deadline. */
int ts_process_wait(ts_process* process, int64_t deadline_ms);

/* Writes all of it to the standard input; 0 when the process does not take it. */
int ts_process_write(ts_process* process, const void* data, size_t size);
void ts_process_close_input(ts_process* process);

/* The next line of the standard output without its newline, NUL-terminated, to be freed with
 * free(); NULL at the end of the output or at the deadline. */
char* ts_process_read_line(ts_process* process, int64_t deadline_ms);

/* All that the standard output (error output) still holds up to its end, NUL-terminated, to be
 * freed with free(); *size may be NULL.  NULL at the deadline. */
char* ts_process_read_output(ts_process* process, size_t* size, int64_t deadline_ms);
char* ts_process_read_error(ts_process* process, size_t* size, int64_t deadline_ms);

/* Kills it with SIGKILL when it still runs, and reaps it.  NULL-safe. */
void ts_process_free(ts_process* process);

/* Starts, feeds `input` (may be NULL), collects both outputs, waits: as ts_process_wait.  output
 * and error_output may be NULL (then they are thrown away), else free() them; both are
 * NUL-terminated. */
int ts_run(const char* const* argv, const char* const* environment, const void* input,
           size_t input_size, char** output, size_t* output_size, char** error_output,
           int64_t deadline_ms);

/* ---- certificates --------------------------------------------------------- */

/* Paths of PEM files. */
typedef struct ts_certificates {
  const char* ca;     /* signed all but `other_ca` */
  const char* server; /* for the names asked for */
  const char* server_key;
  const char* client;
  const char* client_key;
  const char* other_ca; /* signed nothing of these */
} ts_certificates;

/* ---- a real server -------------------------------------------------------- */

typedef struct ts_server ts_server;

typedef struct ts_server_options {
  int tcp;                    /* 1: also listens on a free port of 127.0.0.1 */
  int tls;                    /* 1: also listens with TLS on another one */
  int tls_client_certificate; /* 1: TLS clients must have a certificate */
  const char* tls_names;      /* names in the certificate; NULL = "DNS:localhost,IP:127.0.0.1" */
  int append_only;            /* 1: append-only file, fsync before each answer */
  const char* password;       /* of the default user; NULL = none */
  const char* const* args;    /* more, NULL-terminated: {"--maxclients", "10", NULL} */
} ts_server_options;

/* Starts $PULSE_TEST_SERVER, else redis-server, else valkey-server, in a directory of its own
 * with a unix socket, and waits until it answers.  `options` NULL = nothing but the unix socket.
 * Nothing of it survives ts_server_free. */
ts_server* ts_server_start(const ts_server_options* options);

/* SIGKILL, and removes the directory.  NULL-safe. */
void ts_server_free(ts_server* server);

/* SIGTERM, and waits until it has ended.  Answers 1 when it was running. */
int ts_server_stop(ts_server* server);
/* SIGKILL, and waits until it has ended.  Answers 1 when it was running. */
int ts_server_kill(ts_server* server);
/* Starts it (again) with the same directory, socket and ports, and waits until it answers and has
 * loaded its data; stops it first when it runs. */
int ts_server_restart(ts_server* server);
/* SIGSTOP, SIGCONT.  A server that is stopped still accepts connections, but never answers. */
int ts_server_pause(ts_server* server);
int ts_server_resume(ts_server* server);

pid_t ts_server_pid(const ts_server* server); /* 0 while it does not run */
const char* ts_server_directory(const ts_server* server);
const char* ts_server_socket(const ts_server* server); /* path of the unix socket */
int ts_server_port(const ts_server* server);           /* 0 without tcp */
int ts_server_tls_port(const ts_server* server);       /* 0 without tls */
const ts_certificates* ts_server_certificates(const ts_server* server); /* NULL without tls */

/* URLs for the engine, with the password when there is one (not in the unix form). */
const char* ts_server_url(const ts_server* server);     /* unix:///... */
const char* ts_server_tcp_url(const ts_server* server); /* redis://127.0.0.1:port; NULL without */
/* rediss://localhost:port?ca=...[&cert=...&key=...]; NULL without */
const char* ts_server_tls_url(const ts_server* server);

/* Redis' or Valkey's version as major * 10000 + minor * 100 + patch.  Valkey counts as the Redis
 * it says to be (7.2.4). */
int ts_server_version(ts_server* server);
/* 1 when the server has this command. */
int ts_server_has_command(ts_server* server, const char* name);

/* 1 when the server binary can do TLS and the certificates can be made. */
int ts_tls_available(void);

/* ---- commands from the test's side ---------------------------------------- */

typedef struct ts_reply ts_reply;

typedef int32_t ts_reply_type;
enum {
  TS_NONE = 0, /* no reply: the connection failed */
  TS_STATUS = 1,
  TS_ERROR = 2,
  TS_INTEGER = 3,
  TS_TEXT = 4,
  TS_NIL = 5,
  TS_ARRAY = 6
};

/* One command on a connection of the harness, which is made when needed and made anew when it was
 * lost.  Never NULL: free the answer with ts_reply_free.  The list of texts ends with NULL. */
ts_reply* ts_command(ts_server* server, ...)
#ifdef __GNUC__
    __attribute__((sentinel))
#endif
    ;
/* The same, words separated by spaces, with conversions inside the words:
 * %s text, %b const void* + size_t (any bytes), %d int, %lld long long, %llu, %zu, %% percent.
 *   ts_commandf(server, "XADD %s * name %b", key, data, size) */
ts_reply* ts_commandf(ts_server* server, const char* format, ...);
/* The same, any bytes; `sizes` NULL = texts. */
ts_reply* ts_command_argv(ts_server* server, size_t count, const char* const* words,
                          const size_t* sizes);
/* As ts_command, just the number: the integer, or the value of a text that is a number, or the
 * count of an array; INT64_MIN for anything else (errors are printed). */
int64_t ts_command_integer(ts_server* server, ...)
#ifdef __GNUC__
    __attribute__((sentinel))
#endif
    ;

/* A connection of one's own, for commands that block; by one thread at a time. */
typedef struct ts_connection ts_connection;
ts_connection* ts_connection_open(ts_server* server);
/* To any "unix:///path" or "redis://host:port". */
ts_connection* ts_connection_open_url(const char* url);
void ts_connection_free(ts_connection* connection);
ts_reply* ts_connection_command(ts_connection* connection, ...)
#ifdef __GNUC__
    __attribute__((sentinel))
#endif
    ;
ts_reply* ts_connection_command_argv(ts_connection* connection, size_t count,
                                     const char* const* words, const size_t* sizes);
/* Sends bytes as they are. */
int ts_connection_send(ts_connection* connection, const void* data, size_t size);
/* The next reply that comes, without a command: pub/sub.  TS_NONE at the deadline or when the
 * connection has ended. */
ts_reply* ts_connection_read(ts_connection* connection, int64_t deadline_ms);

/* Accessors: NULL-safe, and answer 0, "" or NULL when the reply is of another kind. */
ts_reply_type ts_reply_get_type(const ts_reply* reply);
int64_t ts_reply_integer(const ts_reply* reply);
const char* ts_reply_text(const ts_reply* reply); /* status, error, text; NUL-terminated */
size_t ts_reply_size(const ts_reply* reply);      /* bytes of the text, or items of the array */
const ts_reply* ts_reply_at(const ts_reply* reply, size_t index);
/* The value that follows the text `name` in a flat list of names and values; NULL if absent. */
const ts_reply* ts_reply_field(const ts_reply* reply, const char* name);
int ts_reply_is_error(const ts_reply* reply);
int ts_reply_is_nil(const ts_reply* reply);
/* 1 when it is a status, error or text and equal to `text`. */
int ts_reply_equals(const ts_reply* reply, const char* text);
/* To standard error, for looking at. */
void ts_reply_print(const ts_reply* reply);
void ts_reply_free(ts_reply* reply);

/* ---- a proxy that misbehaves ---------------------------------------------- */

typedef struct ts_proxy ts_proxy;

enum { TS_TO_SERVER = 1, TS_TO_CLIENT = 2, TS_BOTH = 3 };

/* Listens on a unix socket in front of the server's unix socket. */
ts_proxy* ts_proxy_start(ts_server* server);
/* Listens on a TCP port in front of the server's TCP port (options.tcp). */
ts_proxy* ts_proxy_start_tcp(ts_server* server);
/* Listens on a TCP port in front of the server's TLS port (options.tls). */
ts_proxy* ts_proxy_start_tls(ts_server* server);
/* Closes everything.  NULL-safe. */
void ts_proxy_free(ts_proxy* proxy);

const char* ts_proxy_url(const ts_proxy* proxy);

/* From now on nothing moves in these directions, on connections of now and of later, not even
 * their end: a half-open connection.  Until ts_proxy_resume. */
void ts_proxy_stall(ts_proxy* proxy, int directions);
void ts_proxy_resume(ts_proxy* proxy, int directions);
/* Bytes in these directions are read and thrown away while `on`. */
void ts_proxy_drop(ts_proxy* proxy, int directions, int on);
/* The same, only what comes for clients that have subscribed to a channel. */
void ts_proxy_drop_published(ts_proxy* proxy, int on);
/* Closes all connections on both sides (TCP: with a reset).  They are closed when it returns. */
void ts_proxy_cut_all(ts_proxy* proxy);
/* The connection that carries the bytes-th byte from now on in this direction (counted over all
 * connections) is cut right after that byte.  Once. */
void ts_proxy_cut_after(ts_proxy* proxy, int direction, uint64_t bytes);
/* While `on`, nobody listens: new connections are refused by the system. */
void ts_proxy_refuse(ts_proxy* proxy, int on);

int ts_proxy_connections(ts_proxy* proxy);   /* open now */
uint64_t ts_proxy_accepted(ts_proxy* proxy); /* so far */
uint64_t ts_proxy_cuts(ts_proxy* proxy);     /* connections cut by ts_proxy_cut_* so far */
uint64_t ts_proxy_bytes(ts_proxy* proxy, int direction); /* forwarded so far */

/* ---- a server that answers wrongly ---------------------------------------- */

/* Speaks RESP2.  Without rules it answers as an idle Redis 7.0.15 would: AUTH, SELECT, CLIENT,
 * PING, ECHO, INFO, COMMAND INFO, ROLE, CONFIG, SCRIPT LOAD, XGROUP, XADD (ids go up), XACK, XDEL,
 * XLEN, DEL, EXISTS, EXPIRE, PEXPIRE, XTRIM, XREAD, XREADGROUP (nothing new: nil after BLOCK),
 * XRANGE, XREVRANGE, XPENDING, XINFO (empty), SUBSCRIBE; -NOSCRIPT to EVALSHA, nil to EVAL; an
 * error to the rest.
 *
 * A rule is for one command by its name, case does not matter, or for "NAME SUB" (XGROUP CREATE)
 * or for "*": all commands without a rule of their own.  The longest name wins. */
typedef struct ts_fault ts_fault;

ts_fault* ts_fault_start(void);     /* on a unix socket */
ts_fault* ts_fault_start_tcp(void); /* on a free port of 127.0.0.1 */
void ts_fault_free(ts_fault* fault);
const char* ts_fault_url(const ts_fault* fault);

/* Answers with these bytes, whatever they are.  `times` > 0: so often, then as before any rule;
 * 0 = for ever. */
void ts_fault_answer(ts_fault* fault, const char* name, const void* data, size_t size, int times);
/* The same with a text: "-LOADING Redis is loading the dataset in memory\r\n". */
void ts_fault_answer_text(ts_fault* fault, const char* name, const char* text, int times);
/* Answers with `head`, then `chunk` again and again, `repeat` times, then `tail`: replies that are
 * huge or deeply nested.  Stops when the client closes. */
void ts_fault_answer_repeated(ts_fault* fault, const char* name, const char* head,
                              const void* chunk, size_t size, uint64_t repeat, const char* tail,
                              int times);
/* Never answers (and not what comes after it on that connection either). */
void ts_fault_silence(ts_fault* fault, const char* name, int times);
/* The answer (of a rule, or the usual one) comes so much later. */
void ts_fault_delay(ts_fault* fault, const char* name, int64_t milliseconds);
/* The connection is closed after so many bytes of the answer; 0 = instead of an answer. */
void ts_fault_cut(ts_fault* fault, const char* name, size_t bytes, int times);
/* All answers leave in pieces of so many bytes, each in a write of its own; 0 = whole. */
void ts_fault_split(ts_fault* fault, size_t bytes);
/* Takes the rule away. */
void ts_fault_clear(ts_fault* fault, const char* name);
/* Sends bytes that nobody asked for on every connection. */
void ts_fault_send(ts_fault* fault, const void* data, size_t size);
/* Closes all connections. */
void ts_fault_cut_all(ts_fault* fault);

/* How many of these commands came so far ("*" = all). */
uint64_t ts_fault_count(ts_fault* fault, const char* name);
/* Waits until `count` of them have come. */
int ts_fault_wait_count(ts_fault* fault, const char* name, uint64_t count, int64_t deadline_ms);
/* A word of the last such command (0 = its name), NUL-terminated, to be freed with free(); NULL
 * when there is none.  *size may be NULL. */
char* ts_fault_last(ts_fault* fault, const char* name, size_t word, size_t* size);
int ts_fault_connections(ts_fault* fault);   /* open now */
uint64_t ts_fault_accepted(ts_fault* fault); /* so far */

#ifdef __cplusplus
}
#endif

#endif
