// Large, aligned memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

// Memory for packed weights, at 64 byte boundaries, in huge pages where the system has them. What one session packs stands
// together; it is given back when the last of its matrices goes. Throws std::bad_alloc.
std::shared_ptr<uint8_t> weight_memory(size_t bytes);

// Lets go of the pages of constant data that is mapped from a file: they are read again should anyone want them. Does nothing to
// other memory.
void give_back(const void* data, size_t bytes);

// Memory of the calling thread, at a 64 byte boundary, that the next call may reuse.
uint8_t* scratch_memory(size_t bytes);
