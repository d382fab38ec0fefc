// --help with lines that fit a terminal.
#ifndef TOOLS_CLI_HELP_H
#define TOOLS_CLI_HELP_H

#include <CLI/CLI.hpp>
#include <string>

namespace cli {

// "add", "map NAME get": a group's own arguments stand where they are written.
inline std::string verb_path(const CLI::App& verb) {
  const CLI::App* group = verb.get_parent();
  if (!group) return verb.get_name();
  std::string path = verb_path(*group);
  for (const CLI::Option* option : group->get_options()) {
    if (option->get_positional()) path += " " + option->get_name(true);
  }
  return path + " " + verb.get_name();
}

inline bool takes_many(const CLI::Option* option) { return option->get_expected_max() > 1; }

class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() { column_width(kColumn); }

  std::string make_usage(const CLI::App* app, std::string) const override {
    return CLI::Formatter::make_usage(app, verb_path(*app));
  }

  std::string make_description(const CLI::App* app) const override {
    return wrap(CLI::Formatter::make_description(app), kWidth);
  }

  std::string make_option_desc(const CLI::Option* option) const override {
    return wrap(option->get_description(), kWidth - kColumn);
  }

  std::string make_option_opts(const CLI::Option* option) const override {
    const bool typed = !option->get_positional() && option->get_type_size() > 0;
    return typed ? " " + option->get_type_name() : "";
  }

  std::string make_option_usage(const CLI::Option* option) const override {
    const std::string name = make_option_name(option, true) + (takes_many(option) ? "..." : "");
    return option->get_required() ? name : "[" + name + "]";
  }

  std::string make_subcommand(const CLI::App* verb) const override {
    // The first sentence; the verb's own help has the rest.
    const std::string all = verb->get_description();
    const size_t end = all.find(". ");
    std::stringstream out;
    CLI::detail::format_help(
        out, verb->get_name(),
        wrap(all.substr(0, end == std::string::npos ? end : end + 1), kWidth - kColumn), kColumn);
    return out.str();
  }

 private:
  static constexpr size_t kWidth = 90;
  static constexpr size_t kColumn = 28;

  static std::string wrap(const std::string& text, size_t width) {
    std::string out;
    size_t column = 0;
    for (size_t start = 0; start < text.size();) {
      const size_t end = std::min(text.find_first_of(" \n", start), text.size());
      const size_t length = end - start;
      if (column > 0) {
        const bool fits = column + 1 + length <= width;
        out += fits ? ' ' : '\n';
        column = fits ? column + 1 : 0;
      }
      out.append(text, start, length);
      column += length;
      start = end + 1;
      if (end < text.size() && text[end] == '\n') {
        out += '\n';
        column = 0;
      }
    }
    return out;
  }
};

}  // namespace cli

#endif
