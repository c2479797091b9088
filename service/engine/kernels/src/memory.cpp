#include "memory.h"

#include <cstdio>
#include <mutex>
#include <new>

#include <sys/mman.h>

namespace {

constexpr size_t HUGE_PAGE = size_t{2} << 20;
constexpr size_t CHUNK = 16 * HUGE_PAGE;
constexpr size_t LINE = 64;

size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

#if defined(__linux__)
constexpr size_t PAGE = 4096;

// Whether a range lies within one mapping of a file.
bool is_of_file(uintptr_t begin, uintptr_t end) {
    std::unique_ptr<FILE, int (*)(FILE*)> maps(std::fopen("/proc/self/maps", "re"), std::fclose);
    char line[4352];
    while (maps && std::fgets(line, sizeof line, maps.get())) {
        unsigned long first, last, inode;
        if (std::sscanf(line, "%lx-%lx %*s %*x %*s %lu", &first, &last, &inode) == 3 && first <= begin && begin < last)
            return end <= last && inode != 0;
    }
    return false;
}
#endif

// A range of the address space whose pages come into being as they are written.
class Chunk {
public:
    explicit Chunk(size_t bytes) : mapped_(bytes + HUGE_PAGE) {
        base_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (base_ == MAP_FAILED) throw std::bad_alloc();
        begin = reinterpret_cast<uint8_t*>(rounded(reinterpret_cast<uintptr_t>(base_), HUGE_PAGE));
        end = begin + bytes;
#if defined(MADV_HUGEPAGE)
        madvise(begin, bytes, MADV_HUGEPAGE);
#endif
    }
    Chunk(const Chunk&) = delete;
    ~Chunk() { munmap(base_, mapped_); }

    uint8_t* begin;
    uint8_t* end;

private:
    void* base_;
    size_t mapped_;
};

}  // namespace

std::shared_ptr<uint8_t> weight_memory(size_t bytes) {
    static std::mutex mutex;
    static std::weak_ptr<Chunk> open;
    static uint8_t* next;
    bytes = rounded(bytes, LINE);
    const std::lock_guard<std::mutex> lock(mutex);
    std::shared_ptr<Chunk> chunk = open.lock();
    if (!chunk || static_cast<size_t>(chunk->end - next) < bytes) {
        chunk = std::make_shared<Chunk>(rounded(bytes > CHUNK ? bytes : CHUNK, HUGE_PAGE));
        open = chunk;
        next = chunk->begin;
    }
    uint8_t* const given = next;
    next += bytes;
    return {chunk, given};
}

void give_back(const void* data, size_t bytes) {
#if defined(__linux__)
    const uintptr_t begin = rounded(reinterpret_cast<uintptr_t>(data), PAGE);
    const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / PAGE * PAGE;
    if (begin < end && is_of_file(begin, end)) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
#else
    (void)data, (void)bytes;
#endif
}

uint8_t* scratch_memory(size_t bytes) {
    struct Free {
        void operator()(uint8_t* memory) const { ::operator delete(memory, std::align_val_t(LINE)); }
    };
    thread_local std::unique_ptr<uint8_t, Free> memory;
    thread_local size_t size = 0;
    if (bytes > size) {
        memory.reset();
        size = 0;
        memory.reset(static_cast<uint8_t*>(::operator new(bytes, std::align_val_t(LINE))));
        size = bytes;
    }
    return memory.get();
}
