// What the checks find: each says what it saw in one line; the program fails where one failed.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels.h"

struct Report {
    size_t checked = 0, failed = 0;

    __attribute__((format(printf, 3, 4))) void expect(bool holds, const char* words, ...) {
        ++checked;
        if (holds || ++failed > 40) return;
        va_list values;
        va_start(values, words);
        std::vprintf(words, values);
        std::printf("\n");
        va_end(values);
    }
};

// Bit for bit, any NaN being like another.
inline bool same(float a, float b) { return (a != a && b != b) || std::memcmp(&a, &b, sizeof a) == 0; }

// The first place where two lists differ, or their size.
inline size_t difference(const std::vector<float>& a, const std::vector<float>& b) {
    for (size_t i = 0; i < a.size(); ++i)
        if (i >= b.size() || !same(a[i], b[i])) return i;
    return a.size();
}

class Random {
public:
    explicit Random(uint32_t seed) : bits_(seed) {}

    size_t below(size_t limit) { return bits_() % limit; }
    float normal() {
        float sum = -6.0f;
        for (int i = 0; i < 12; ++i) sum += static_cast<float>(bits_()) / 4294967296.0f;
        return sum;
    }
    template <class T>
    T of(std::initializer_list<T> choices) {
        return choices.begin()[below(choices.size())];
    }
    std::vector<float> normals(size_t count, float scale = 1.0f) {
        std::vector<float> result(count);
        for (float& value : result) value = normal() * scale;
        return result;
    }
    // Some cut points of [0, count).
    std::vector<size_t> cuts(size_t count) {
        std::vector<size_t> result{0};
        while (result.back() < count) result.push_back(std::min(count, result.back() + 1 + below(count)));
        return result;
    }

private:
    std::mt19937 bits_;
};

using AllKernels = std::vector<const Kernels*>;

void check_products(const AllKernels& kernels, size_t rounds, Report& report);
void check_rows(const AllKernels& kernels, size_t rounds, Report& report);
void check_attention(const AllKernels& kernels, size_t rounds, Report& report);
