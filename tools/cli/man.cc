#include "man.h"

#include <pulseengine/pulse.h>

#include <vector>

#include "help.h"

namespace cli {
namespace {

// Text as roff shows it as it is.
std::string quoted(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if (c == '\'' && (out.empty() || out.back() == '\n')) {
      out += "\\(aq";  // an apostrophe starts a request, as a dot does
    } else if (c == '.' && (out.empty() || out.back() == '\n')) {
      out += "\\&.";
    } else {
      out += c;
    }
  }
  return out;
}

// A heading or macro argument.
std::string argument(const std::string& text) {
  std::string out = "\"";
  for (char c : quoted(text)) out += c == '"' ? std::string("\\(dq") : std::string(1, c);
  return out + "\"";
}

// "--topic T", "-f, --follow", "STREAM".
std::string option_title(const CLI::Option& option) {
  if (option.get_positional()) return option.get_name(true);
  std::string title;
  for (const std::string& name : option.get_snames()) title += (title.empty() ? "-" : ", -") + name;
  for (const std::string& name : option.get_lnames()) {
    title += (title.empty() ? "--" : ", --") + name;
  }
  if (option.get_type_size() > 0 && !option.get_type_name().empty()) {
    title += " " + option.get_type_name();
  }
  return title;
}

std::vector<const CLI::Option*> visible_options(const CLI::App& app) {
  return app.get_options([](const CLI::Option* option) { return !option->get_group().empty(); });
}

void put_options(std::string* page, const CLI::App& app, bool with_help) {
  for (const CLI::Option* option : visible_options(app)) {
    if (!with_help && option == app.get_help_ptr()) continue;
    *page += ".TP\n.B " + argument(option_title(*option)) + "\n";
    *page += quoted(option->get_description()) + "\n";
  }
}

// "add STREAM NAME [PAYLOAD] [options]"
std::string usage(const CLI::App& verb) {
  std::string text = verb_path(verb);
  text.erase(0, text.find(' ') + 1);  // the program
  for (const CLI::Option* option : visible_options(verb)) {
    if (!option->get_positional()) continue;
    std::string name = option->get_name(true);
    if (option->get_items_expected_max() > 1) name += "...";
    text += option->get_required() ? " " + name : " [" + name + "]";
  }
  return text + " [options]";
}

void put_verbs(std::string* page, const CLI::App& app) {
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!verb->get_subcommands([](const CLI::App*) { return true; }).empty()) {
      put_verbs(page, *verb);
      continue;
    }
    *page += ".SS " + argument(usage(*verb)) + "\n";
    *page += quoted(verb->get_description()) + "\n";
    put_options(page, *verb, false);
  }
}

constexpr char kRest[] = R"roff(.SH OUTPUT
Standard output holds nothing but JSON, one object to a line. Messages for people go to standard
error.
.TP
Events
.BR id ", " stream ", " name ", " topic
(null if there is none),
.B payload
(text) or
.B payload_base64
(bytes that are no UTF\-8),
.B headers
(an object; a name that comes twice has a list of its values), and from sinks
.B deliveries
(1 = the first time). A name or topic that is no UTF\-8 is shown with U+FFFD, and in full as
.BR name_base64 " or " topic_base64 .
.TP
Notices
All that is no event has the key
.BR notice :
.BR ready ;
.B gap
(events after
.B after
and before
.B before
were trimmed or deleted unread;
.B count
of them, null if the server cannot tell);
.B recreated
(stream or group was gone);
.BR disconnected " and " reconnected ;
.B malformed
(an entry without name or payload was skipped);
.B lost
(an event was trimmed or removed before it was acked);
.B not_owner
(an ack came too late, the event was handed to another consumer);
.B ownership_lost
(this consumer was taken for dead, and starts over);
.B exec_failed
(with
.BR exit_status " and " retry_ms );
.BR read_error .
Further keys and notices may be added.
.TP
Maps
Values and lists that are no UTF\-8 come as
.BR value_base64 ", " previous_base64 ", " old_base64 ", " values_base64 .
In
.B dump
such values stand in
.B map_base64
(key to value), and entries with such keys in
.B entries_base64
(pairs of both).
.B rev
is the revision of the map, null when nothing was written.
.TP
Watches of maps
A change has
.B op
.RB ( set ", " delete ", " reset " or " destroy ),
.BR key ", " value ", " old
(null where there is none) and
.BR rev .
A state has
.B state
.RB ( syncing ", " synced " or " stale ),
.B rev
and
.B reason
.RB ( disconnected ", " silent ", " missed ", " disagrees ", " malformed ", " limit ", " wrong_type ,
.BR refused ", " no_memory
or null), perhaps
.BR message .
.B synced
comes when all up to its
.B rev
was printed. The notice
.B rewound
(with
.BR before " and " rev )
says that the server has lost data.
.TP
Workers of pools
All events have
.BR event ", " key ", " payload
(or
.BR payload_base64 ),
.BR worker " and " node ,
null where there is none. The last one is
.B closed
of the node, with
.B handed_over
(how many jobs go on elsewhere). The
.B reason
of a
.B stop
is
.B shutdown
(the pool's) or
.B lost
(this worker was taken for dead; the job may run elsewhere already), else there is none. With
\-\-exec there are the notices
.B exec_finished
and
.B exec_failed
(with
.BR exit_status ", " signal ", " failures " and " retry_ms ,
which is null when the job ends).
.TP
Tickers
.B ready
has
.B ticker
(new, adopted or replaced) and
.BR interval_ns ,
as has
.BR changed ;
.B tick
has
.B time_us
(the point of the grid, by the server's clock) and
.B missed
(how many before it nobody got);
.B closed
has the
.BR reason :
stopped, shutdown (the pool's) or here.
.TP
Calls to pools
.BR dispatch ", " stop ", " notify " and " shutdown
print
.BR result ", " error
(null when all went well) and
.BR ms .
.SH POOLS
All nodes of a pool, and all who dispatch to it, must be given the same \-\-ttl, \-\-grace and
\-\-routing.
.BR dispatch ", " stop " and " notify
join as clients, which route nothing.
.BR jobs ", " workers ", " nodes ", " ticker " and " shutdown
need to know the pool, so they join it as full nodes without workers, and route jobs, too, while they
are there.
.PP
The processes of
.B worker \-\-exec
end with their worker, also when that is killed: a small process beside it sees to that. A worker that
was merely suspended for longer than \-\-ttl stops its processes when it runs again; until then its jobs
may run twice. A supervisor should signal the worker alone, and not its jobs (systemd: KillMode=mixed).
.SH DURATIONS AND TIMES
Durations are written as in Go: 250ms, 1.5s, 1m30s, 24h. Times are RFC 3339 (2026\-01\-02T15:04:05Z,
with fraction and offset if need be) or Unix milliseconds.
.SH SIGNALS
SIGINT and SIGTERM end
.BR read ", " sink ", " "map watch" ", " worker ", " "jobs \-\-watch" " and " "add \-\-lines"
cleanly: sinks hand back what they have not acked, workers stop their jobs, which go on elsewhere, and the
exit status is 0. When nobody reads
standard output any more, they end the same way; an event whose line was not written is not acked.
.SH EXIT STATUS
0 when all went well, 1 when something failed, 2 for wrong usage.
.SH ENVIRONMENT
.TP
.B PULSE_URL
The server, where \-\-url is not given.
.TP
.B PULSE_LOCAL_HELPER
Path of the program that starts the private server of local: URLs, in place of the installed one.
.SH EXAMPLES
Watch a stream, and publish to it:
.PP
.nf
    pulseengine read orders \-\-follow
    pulseengine add orders placed \(aq{"n":1}\(aq \-\-topic eu
.fi
.PP
Publish a log as it grows:
.PP
.nf
    tail \-F app.log | pulseengine add logs line \-\-lines \-\-max\-len 100000
.fi
.PP
Share events among as many machines as this runs on, each until it was handled:
.PP
.nf
    pulseengine sink orders mailer \-\-exec ./send\-mail
.fi
.PP
Keep settings in a map, and follow them:
.PP
.nf
    pulseengine map flags set dark\-mode on
    pulseengine map flags watch
.fi
.PP
Keep programs running, one for each key, on as many machines as this runs on:
.PP
.nf
    pulseengine worker crawlers \-\-exec ./crawl
    pulseengine dispatch crawlers example.org \(aq{"depth":3}\(aq
.fi
)roff";

}  // namespace

std::string man_page(const CLI::App& app) {
  const std::string version = PULSE_VERSION_STRING;
  std::string page =
      ".TH PULSEENGINE 1 \"\" \"Pulse " + version + "\" \"User Commands\"\n.nh\n.ad l\n";
  page +=
      ".SH NAME\npulseengine \\- Pulse streams, replicated maps and worker pools from the command "
      "line\n";
  page += ".SH SYNOPSIS\n.B pulseengine\n[options]\n.I verb\n[arguments]\n";
  page += ".SH DESCRIPTION\n" + quoted(app.get_description()) + "\n";
  page += ".SH OPTIONS\n";
  put_options(&page, app, true);
  page += ".SH VERBS\n";
  put_verbs(&page, app);
  return page + kRest;
}

}  // namespace cli
