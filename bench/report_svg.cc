#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include "report.h"

namespace bench {
namespace {

constexpr int kWidth = 760, kLeft = 90, kRight = 40, kTop = 46, kLine = 44;

std::string escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

__attribute__((format(printf, 2, 3))) void put(std::string* out, const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  *out += text;
}

double highest(const Result& result) {
  const double wanted = std::isnan(result.row.at_least) ? 0 : result.row.at_least;
  const double aim = std::isnan(result.row.aim) ? 0 : result.row.aim;
  return std::max({result.ratio.max, wanted, aim}) * 1.1;
}

}  // namespace

// One line per result, each with a scale of its own: the middle half as a bar, all of it as a line,
// the median, and where it should be.
std::string draw_chart(const std::string& title, const std::vector<Result>& results) {
  const int height = kTop + kLine * static_cast<int>(results.size()) + 24;
  std::string out;
  put(&out,
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
      "font-family=\"sans-serif\" font-size=\"11\">\n"
      "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n"
      "<text x=\"10\" y=\"20\" font-size=\"14\">%s</text>\n",
      kWidth, height, escape(title).c_str());
  for (size_t i = 0; i < results.size(); ++i) {
    const Result& result = results[i];
    const double scale = (kWidth - kLeft - kRight) / std::max(highest(result), 1e-9);
    const auto x = [&](double value) { return kLeft + value * scale; };
    const int y = kTop + kLine * static_cast<int>(i);
    const Quartiles& ratio = result.ratio;
    put(&out, "<text x=\"10\" y=\"%d\">%s %s</text>\n", y + 20, escape(result.row.row).c_str(),
        result.transport.c_str());
    put(&out, "<text x=\"%d\" y=\"%d\" fill=\"#555555\">%s</text>\n", kLeft, y + 2,
        escape(result.row.name).c_str());
    put(&out, "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"#dddddd\"/>\n", kLeft,
        kWidth - kRight, y + 16, y + 16);
    put(&out, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#3060a0\"/>\n",
        x(ratio.min), x(ratio.max), y + 16, y + 16);
    put(&out, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"12\" fill=\"#7fa8d8\"/>\n",
        x(ratio.q1), y + 10, std::max(x(ratio.q3) - x(ratio.q1), 1.0));
    put(&out,
        "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#103060\" "
        "stroke-width=\"2\"/>\n",
        x(ratio.median), x(ratio.median), y + 8, y + 24);
    put(&out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x(ratio.median),
        y + 35, format_number(ratio.median).c_str());
    const struct {
      double value;
      const char* color;
    } marks[] = {{result.row.at_least, "#c03030"}, {result.row.aim, "#30a030"}};
    for (const auto& mark : marks) {
      if (std::isnan(mark.value)) continue;
      put(&out,
          "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"%s\" "
          "stroke-dasharray=\"3 2\"/>\n",
          x(mark.value), x(mark.value), y + 6, y + 26, mark.color);
    }
  }
  put(&out,
      "<text x=\"10\" y=\"%d\" fill=\"#555555\">ours / reference (or ours, where there is no "
      "reference); bar: middle half; red: at least (or at most); green: aim</text>\n</svg>\n",
      height - 8);
  return out;
}

}  // namespace bench
