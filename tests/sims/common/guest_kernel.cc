// A kernel file that is never run, for a machine whose state comes from a file: QEMU's choice of
// option ROMs hangs on the kind of kernel, and they are part of the state.
#include "lib/base/sys_error.h"
#include "tests/sims/common/guest_command.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>

namespace attest::sims {
namespace {

template <class T>
void put(std::string& file, std::size_t at, const T& value) {
  std::memcpy(file.data() + at, &value, sizeof value);
}

// One page at 1 MiB, and the note that says where a PVH kernel begins.
std::string elf_kernel() {
  constexpr std::uint64_t address = 1 << 20;
  constexpr std::size_t note_at = 0x100, size = 0x1000;
  struct Note {
    Elf64_Nhdr head;
    char name[4];
    std::uint64_t entry;
  } note{{.n_namesz = 4, .n_descsz = 8, .n_type = 18}, {'X', 'e', 'n', 0}, address};
  static_assert(sizeof(Note) == 24);
  std::string file(size, '\0');
  Elf64_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_ident[EI_CLASS] = ELFCLASS64;
  head.e_ident[EI_DATA] = ELFDATA2LSB;
  head.e_ident[EI_VERSION] = EV_CURRENT;
  head.e_type = ET_EXEC;
  head.e_machine = EM_X86_64;
  head.e_version = EV_CURRENT;
  head.e_entry = address;
  head.e_phoff = sizeof head;
  head.e_ehsize = sizeof head;
  head.e_phentsize = sizeof(Elf64_Phdr);
  head.e_phnum = 2;
  put(file, 0, head);
  Elf64_Phdr load{.p_type = PT_LOAD,
                  .p_flags = PF_R | PF_X,
                  .p_vaddr = address,
                  .p_paddr = address,
                  .p_filesz = size,
                  .p_memsz = size,
                  .p_align = size};
  put(file, sizeof head, load);
  Elf64_Phdr notes{.p_type = PT_NOTE,
                   .p_flags = PF_R,
                   .p_offset = note_at,
                   .p_vaddr = address + note_at,
                   .p_paddr = address + note_at,
                   .p_filesz = sizeof note,
                   .p_memsz = sizeof note,
                   .p_align = 4};
  put(file, sizeof head + sizeof load, notes);
  put(file, note_at, note);
  return file;
}

// The header of a bzImage, protocol 2.15, with one sector of code.
std::string bzimage_kernel() {
  std::string file(0x1000, '\0');
  file[0x1f1] = 4;  // sectors of setup
  put(file, 0x1fe, std::uint16_t(0xaa55));
  put(file, 0x202, std::uint32_t(0x53726448));  // "HdrS"
  put(file, 0x206, std::uint16_t(0x020f));
  file[0x211] = 1;  // loaded high
  put(file, 0x22c, std::uint32_t(0x7fffffff));
  put(file, 0x238, std::uint32_t(2047));
  return file;
}

}  // namespace

std::string kernel_kind(const std::string& path) {
  if (path.empty()) return "";
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  file.read(magic, sizeof magic);
  return std::memcmp(magic, ELFMAG, SELFMAG) == 0 ? "elf" : "bzimage";
}

base::Fd unused_kernel(const std::string& kind) {
  std::string bytes = kind == "elf" ? elf_kernel() : bzimage_kernel();
  base::Fd file(base::check(::memfd_create("kernel", MFD_CLOEXEC), "making a file in memory"));
  if (::write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    throw base::sys_error("writing a file in memory");
  return file;
}

}  // namespace attest::sims
