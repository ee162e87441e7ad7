// The symbol that Samsung's plugin for LiteRT is published without: FlatBuffers' locale for reading numbers.

#include <locale.h>

namespace flatbuffers {

class ClassicLocale {
 public:
  ClassicLocale() : locale_(newlocale(LC_ALL, "C", nullptr)) {}
  ~ClassicLocale() { freelocale(locale_); }
  locale_t locale_;
  static ClassicLocale instance_;
};

ClassicLocale ClassicLocale::instance_;

}  // namespace flatbuffers
