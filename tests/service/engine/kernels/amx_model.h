// The tile instructions of AMX in plain C++, as Intel's manual describes them, with the interface of AmxTiles. What the
// processor would refuse, or leave undefined, ends the program.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

struct AmxModel {
    struct Tile {
        size_t rows, row_bytes;
        uint8_t bytes[16][64];
    };
    struct State {
        bool configured = false;
        Tile tile[8];
    };

    static State& state() {
        thread_local State held;
        return held;
    }
    static void insist(bool holds, const char* words) {
        if (holds) return;
        std::printf("AMX: %s\n", words);
        std::exit(1);
    }
    static Tile& tile(int number) {
        insist(state().configured, "tiles are used without a configuration");
        return state().tile[number];
    }

    static void configure(size_t depth) {
        insist(depth % 4 == 0 && depth >= 4 && depth <= 64, "a row of a tile has 64 bytes at most, in fours");
        state().configured = true;
        for (int number = 0; number < 8; ++number) {
            state().tile[number] = {number < 6 ? 16 : depth / 4, number == 4 || number == 5 ? depth : 64, {}};
        }
    }
    static void release() { state().configured = false; }

    template <int TILE>
    static void zero() {
        std::memset(tile(TILE).bytes, 0, sizeof tile(TILE).bytes);
    }
    template <int TILE>
    static void load(const void* from, size_t stride) {
        Tile& to = tile(TILE);
        std::memset(to.bytes, 0, sizeof to.bytes);
        for (size_t row = 0; row < to.rows; ++row) std::memcpy(to.bytes[row], static_cast<const uint8_t*>(from) + row * stride, to.row_bytes);
    }
    template <int TILE>
    static void store(void* to, size_t stride) {
        const Tile& from = tile(TILE);
        for (size_t row = 0; row < from.rows; ++row) std::memcpy(static_cast<uint8_t*>(to) + row * stride, from.bytes[row], from.row_bytes);
    }
    template <int SUMS, int ACTIVATIONS, int WEIGHTS>
    static void multiply() {
        Tile& sums = tile(SUMS);
        const Tile& a = tile(ACTIVATIONS);
        const Tile& b = tile(WEIGHTS);
        insist(SUMS != ACTIVATIONS && SUMS != WEIGHTS && ACTIVATIONS != WEIGHTS, "the three tiles of a product must differ");
        insist(a.rows == sums.rows && b.row_bytes == sums.row_bytes && a.row_bytes == 4 * b.rows, "the shapes of a product do not fit");
        for (size_t row = 0; row < a.rows; ++row)
            for (size_t four = 0; four < b.rows; ++four)
                for (size_t column = 0; column < b.row_bytes / 4; ++column) {
                    int32_t sum;
                    std::memcpy(&sum, sums.bytes[row] + 4 * column, 4);
                    for (size_t i = 0; i < 4; ++i) sum += static_cast<int8_t>(a.bytes[row][4 * four + i]) * b.bytes[four][4 * column + i];
                    std::memcpy(sums.bytes[row] + 4 * column, &sum, 4);
                }
    }
};

}  // namespace
