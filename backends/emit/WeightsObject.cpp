//===- WeightsObject.cpp - Weights as a relocatable object
//-----------------===//
#include "backends/emit/WeightsObject.h"
#include "llvm/BinaryFormat/ELF.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>

using namespace llvm;

namespace pare::emit {

static constexpr uint64_t kPage = 4096;
/// Of a weight: PARE_ALIGN, a cache line.
static constexpr uint64_t kAlign = 64;

WeightsObject::WeightsObject(std::unique_ptr<raw_fd_ostream> stream,
                             std::string path, uint16_t machine,
                             StringRef symbol)
    : stream_(std::move(stream)), path_(std::move(path)), machine_(machine),
      symbol_(symbol) {}

Expected<std::unique_ptr<WeightsObject>>
WeightsObject::create(StringRef path, uint16_t machine, StringRef symbol) {
  std::error_code error;
  auto stream = std::make_unique<raw_fd_ostream>(path, error);
  if (error)
    return createStringError(error, "cannot write '%s': %s", path.str().c_str(),
                             error.message().c_str());
  stream->write_zeros(kPage);
  return std::unique_ptr<WeightsObject>(
      new WeightsObject(std::move(stream), path.str(), machine, symbol));
}

Error WeightsObject::checkStream() {
  if (!stream_->has_error())
    return Error::success();
  std::error_code error = stream_->error();
  stream_->clear_error();
  return createStringError(error, "cannot write '%s': %s", path_.c_str(),
                           error.message().c_str());
}

void WeightsObject::padTo(uint64_t alignment) {
  stream_->write_zeros(alignTo(stream_->tell(), alignment) - stream_->tell());
}

Expected<uint64_t> WeightsObject::append(ArrayRef<uint8_t> bytes) {
  static constexpr uint8_t zeros[kAlign] = {};
  uint64_t padding = alignTo(weightBytes_, kAlign) - weightBytes_;
  hasher_.update(ArrayRef(zeros, padding));
  stream_->write(reinterpret_cast<const char *>(zeros), padding);
  uint64_t offset = weightBytes_ + padding;
  hasher_.update(bytes);
  stream_->write(reinterpret_cast<const char *>(bytes.data()), bytes.size());
  weightBytes_ = offset + bytes.size();
  if (Error error = checkStream())
    return std::move(error);
  return offset;
}

namespace {
/// A string table under construction.
struct Strings {
  std::string bytes = std::string(1, '\0');
  uint32_t add(StringRef text) {
    uint32_t offset = bytes.size();
    bytes += text;
    bytes += '\0';
    return offset;
  }
};
} // namespace

Error WeightsObject::finish(StringRef graph) {
  using namespace llvm::ELF;
  hash_ = hasher_.final();

  Strings names;
  std::array<Elf64_Shdr, 6> sections{};
  enum { Null, Weights, Graph, Stack, Symtab, Strtab };
  auto begin = [&](unsigned index, StringRef name, uint32_t type,
                   uint64_t flags, uint64_t align) -> Elf64_Shdr & {
    Elf64_Shdr &section = sections[index];
    section.sh_name = names.add(name);
    section.sh_type = type;
    section.sh_flags = flags;
    section.sh_addralign = align;
    section.sh_offset = stream_->tell();
    return section;
  };

  // More than 2 GiB between code and data is out of reach of 32-bit relocations
  // unless the linker knows to lay the section out last.
  uint64_t large = machine_ == EM_X86_64 ? uint64_t(SHF_X86_64_LARGE) : 0;
  sections[Weights].sh_offset = kPage;
  Elf64_Shdr &weights =
      begin(Weights, kWeightsSection, SHT_PROGBITS, SHF_ALLOC | large, kPage);
  weights.sh_offset = kPage;
  weights.sh_size = weightBytes_;

  Elf64_Shdr &graphSection = begin(Graph, kGraphSection, SHT_PROGBITS, 0, 1);
  stream_->write(graph.data(), graph.size());
  graphSection.sh_size = graph.size();

  begin(Stack, ".note.GNU-stack", SHT_PROGBITS, 0, 1);

  Strings symbolNames;
  std::array<Elf64_Sym, 2> symbols{};
  symbols[1].st_name = symbolNames.add(symbol_);
  symbols[1].setBindingAndType(STB_GLOBAL, STT_OBJECT);
  symbols[1].st_other = STV_HIDDEN;
  symbols[1].st_shndx = Weights;
  symbols[1].st_size = weightBytes_;
  padTo(8);
  Elf64_Shdr &symtab = begin(Symtab, ".symtab", SHT_SYMTAB, 0, 8);
  symtab.sh_size = sizeof(symbols);
  symtab.sh_entsize = sizeof(Elf64_Sym);
  symtab.sh_link = Strtab;
  symtab.sh_info = 1; // the first global symbol
  stream_->write(reinterpret_cast<const char *>(symbols.data()),
                 sizeof(symbols));

  // One string table serves symbols and section names: symbol names first, so
  // that their offsets stand.
  Elf64_Shdr &strtab = begin(Strtab, ".strtab", SHT_STRTAB, 0, 1);
  uint32_t sectionNames = symbolNames.bytes.size();
  for (unsigned i = 1; i < sections.size(); ++i)
    sections[i].sh_name += sectionNames;
  std::string strings = symbolNames.bytes + names.bytes;
  strtab.sh_size = strings.size();
  *stream_ << strings;

  padTo(8);
  Elf64_Ehdr header{};
  memcpy(header.e_ident, ElfMagic, 4);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_REL;
  header.e_machine = machine_;
  header.e_version = EV_CURRENT;
  header.e_shoff = stream_->tell();
  header.e_ehsize = sizeof(header);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = sections.size();
  header.e_shstrndx = Strtab;
  stream_->write(reinterpret_cast<const char *>(sections.data()),
                 sizeof(sections));
  stream_->pwrite(reinterpret_cast<const char *>(&header), sizeof(header), 0);
  stream_->flush();
  Error error = checkStream();
  stream_->close();
  return error;
}

} // namespace pare::emit
