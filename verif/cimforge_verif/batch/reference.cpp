// What one would write by hand to run a program through the digital tile: a main that reads the
// streams from files, toggles the clock, and writes the result beats. The batch backend is measured
// against it. Arguments: bytes of a command, weight, activation and result beat, then the files of
// the three inputs, the file of the results, how many results there will be, and repetitions.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "top.h"
#include "verilated.h"

using Bytes = std::vector<char>;

static Bytes read(const char* path) {
    std::ifstream file(path, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(file), {});
}

int main(int, char** argv) {
    const size_t size[4] = {std::stoul(argv[1]), std::stoul(argv[2]), std::stoul(argv[3]),
                            std::stoul(argv[4])};
    const Bytes commands = read(argv[5]), weights = read(argv[6]), acts = read(argv[7]);
    const size_t wanted = std::stoul(argv[9]), repeat = std::stoul(argv[10]);
    VerilatedContext context;
    context.threads(1);
    Top top{&context};
    unsigned long cycles = 0;
    Bytes results;
    const auto begin = std::chrono::steady_clock::now();
    for (size_t run = 0; run < repeat; ++run) {
        size_t sent[3] = {0, 0, 0}, came = 0;
        results.clear();
        top.clear = 0;
        top.rst = 1;
        top.commands___05Fvalid = top.weights___05Fvalid = top.acts___05Fvalid = 0;
        for (int i = 0; i < 4; ++i) {
            top.clk = i & 1;
            top.eval();
        }
        top.rst = 0;
        top.results___05Fready = 1;
        while (came < wanted || top.busy) {
            top.clk = 0;
#define OFFER(port, data, n)                                                        \
    top.port##___05Fvalid = sent[n] * size[n] < data.size();                        \
    if (top.port##___05Fvalid)                                                      \
        std::memcpy(&top.port##___05Fpayload, &data[sent[n] * size[n]], size[n]);
            OFFER(commands, commands, 0)
            OFFER(weights, weights, 1)
            OFFER(acts, acts, 2)
            top.eval();
            sent[0] += top.commands___05Fvalid && top.commands___05Fready;
            sent[1] += top.weights___05Fvalid && top.weights___05Fready;
            sent[2] += top.acts___05Fvalid && top.acts___05Fready;
            if (top.results___05Fvalid) {
                const char* beat = reinterpret_cast<const char*>(&top.results___05Fpayload);
                results.insert(results.end(), beat, beat + size[3]);
                ++came;
            }
            top.clk = 1;
            top.eval();
            ++cycles;
        }
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    std::ofstream(argv[8], std::ios::binary).write(results.data(), results.size());
    std::printf("%lu %.9f\n", cycles, seconds.count());
}
