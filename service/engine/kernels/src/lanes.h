// Sixteen numbers side by side, whatever the width of the processor's registers.
//
// An instruction set describes itself by a struct with the types `Float` and `Int` (its registers of float and int32),
// `fused` (multiply and add, rounded once), `sum` (of a register, its upper half added to its lower one first), `load_first` and `store_first` (fewer than sixteen). All arithmetic is in one fixed order, so that results are the same bit
// for bit on every instruction set. Everything here is compiled for the instruction set of the file that includes it,
// hence the unnamed namespace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#define ALWAYS_INLINE inline __attribute__((always_inline))

namespace {

constexpr int LANES = 16;

template <class Isa>
struct Floats;

template <class Isa>
struct Ints {
    static constexpr int PARTS = LANES * sizeof(int32_t) / sizeof(typename Isa::Int);
    typename Isa::Int part[PARTS];

    static ALWAYS_INLINE Ints all(int32_t value) {
        Ints result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = typename Isa::Int{} + value;
        return result;
    }
    ALWAYS_INLINE Ints operator+(const Ints& other) const {
        Ints result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = part[i] + other.part[i];
        return result;
    }
    ALWAYS_INLINE Ints operator-(const Ints& other) const {
        Ints result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = part[i] - other.part[i];
        return result;
    }
    ALWAYS_INLINE Ints operator&(const Ints& other) const {
        Ints result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = part[i] & other.part[i];
        return result;
    }
    ALWAYS_INLINE Ints operator<<(int count) const {
        Ints result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = part[i] << count;
        return result;
    }
    ALWAYS_INLINE Ints max(const Ints& other) const {
        Ints result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = part[i] > other.part[i] ? part[i] : other.part[i];
        return result;
    }
    ALWAYS_INLINE Floats<Isa> to_float() const {
        Floats<Isa> result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = __builtin_convertvector(part[i], typename Isa::Float);
        return result;
    }
    ALWAYS_INLINE Floats<Isa> as_float() const {
        Floats<Isa> result;
        std::memcpy(&result, this, sizeof result);
        return result;
    }
    ALWAYS_INLINE void store(int32_t* to) const { std::memcpy(to, part, sizeof part); }
    static ALWAYS_INLINE Ints load(const int32_t* from) {
        Ints result;
        std::memcpy(result.part, from, sizeof result.part);
        return result;
    }
    ALWAYS_INLINE int32_t largest() const {
        int32_t lane[LANES];
        store(lane);
        int32_t result = lane[0];
        for (int i = 1; i < LANES; ++i) result = lane[i] > result ? lane[i] : result;
        return result;
    }
    ALWAYS_INLINE int32_t sum() const {
        int32_t lane[LANES];
        store(lane);
        int32_t result = 0;
        for (int i = 0; i < LANES; ++i) result += lane[i];
        return result;
    }
};

template <class Isa>
struct Floats {
    static constexpr int PARTS = Ints<Isa>::PARTS;
    typename Isa::Float part[PARTS];

    static ALWAYS_INLINE Floats all(float value) {
        Floats result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = value - typename Isa::Float{};  // -0.0f stays what it is
        return result;
    }
    static ALWAYS_INLINE Floats load(const float* from) {
        Floats result;
        std::memcpy(result.part, from, sizeof result.part);
        return result;
    }
    // The first `count` lanes from memory, the others 0.
    static ALWAYS_INLINE Floats load(const float* from, size_t count) {
        if (count >= LANES) return load(from);
        Floats result;
        Isa::load_first(from, count, result.part);
        return result;
    }
    ALWAYS_INLINE void store(float* to) const { std::memcpy(to, part, sizeof part); }
    ALWAYS_INLINE void store(float* to, size_t count) const {
        if (count >= LANES) return store(to);
        Isa::store_first(part, count, to);
    }
    ALWAYS_INLINE Floats operator+(const Floats& other) const {
        Floats result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = part[i] + other.part[i];
        return result;
    }
    ALWAYS_INLINE Floats operator-(const Floats& other) const {
        Floats result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = part[i] - other.part[i];
        return result;
    }
    ALWAYS_INLINE Floats operator*(const Floats& other) const {
        Floats result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = part[i] * other.part[i];
        return result;
    }
    ALWAYS_INLINE Floats operator/(const Floats& other) const {
        Floats result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = part[i] / other.part[i];
        return result;
    }
    // this * factor + addend, rounded once.
    ALWAYS_INLINE Floats times_plus(const Floats& factor, const Floats& addend) const {
        Floats result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = Isa::fused(part[i], factor.part[i], addend.part[i]);
        return result;
    }
    ALWAYS_INLINE Floats max(const Floats& other) const {
        Floats result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = part[i] > other.part[i] ? part[i] : other.part[i];
        return result;
    }
    ALWAYS_INLINE Floats min(const Floats& other) const {
        Floats result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = part[i] < other.part[i] ? part[i] : other.part[i];
        return result;
    }
    // yes where this < limit, else no.
    ALWAYS_INLINE Floats where_below(const Floats& limit, const Floats& yes, const Floats& no) const {
        Floats result;
        for (int i = 0; i < PARTS; ++i) result.part[i] = part[i] < limit.part[i] ? yes.part[i] : no.part[i];
        return result;
    }
    ALWAYS_INLINE Ints<Isa> as_int() const {
        Ints<Isa> result;
        std::memcpy(&result, this, sizeof result);
        return result;
    }
    // The nearest whole number, ties to even, of values between -2^22 and 2^22.
    ALWAYS_INLINE Ints<Isa> rounded() const {
        const Floats magic = all(12582912.0f);
        return (*this + magic).as_int() - magic.as_int();
    }
    ALWAYS_INLINE float sum() const {
        // Lane i + 8 to lane i, then 4, 2 and 1.
        typename Isa::Float added[PARTS];
        std::memcpy(added, part, sizeof added);
        for (int half = PARTS / 2; half; half /= 2)
            for (int i = 0; i < half; ++i) added[i] = added[i] + added[i + half];
        return Isa::sum(added[0]);
    }
    ALWAYS_INLINE float largest() const {
        float lane[LANES];
        store(lane);
        float result = lane[0];
        for (int i = 1; i < LANES; ++i) result = lane[i] > result ? lane[i] : result;
        return result;
    }
};

}  // namespace
