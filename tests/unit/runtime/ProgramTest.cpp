//===- ProgramTest.cpp - Whole programs, as artifacts are -----------------===//
//
// Runs the static programs that are linked from the toy models and the runtime
// archive.
//
//===----------------------------------------------------------------------===//
#include "ProgramTest.h"
#include "ToyModel.h"
#include "backends/runtime/Output.h"

#include <cmath>

namespace {

class ToyTest : public ProgramTest {
protected:
  void writeInput(const std::string &name, int64_t batch) {
    std::vector<float> x(size_t(batch * toy::kIn));
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = float(int(i * 29 % 31) - 15) / 4;
    writeNpy(name, PARE_F32, {batch, toy::kIn}, x);
  }
};

} // namespace

TEST_F(ToyTest, Help) {
  Ran ran = run("toy --help");
  EXPECT_EQ(ran.code, 0);
  for (const char *part : {"run ", "bench ", "info "})
    EXPECT_TRUE(contains(ran.out, part)) << part;
  EXPECT_FALSE(contains(ran.out, "embed"));
  EXPECT_TRUE(contains(run("toy_encoder --help").out, "embed"));
  for (const char *command : {"run", "bench", "info"}) {
    ran = run(std::string("toy ") + command + " --help");
    EXPECT_EQ(ran.code, 0);
    EXPECT_TRUE(contains(ran.out, "example:\n  ./toy ")) << ran.out;
    EXPECT_EQ(ran.out, run(std::string("toy help ") + command).out);
  }
  EXPECT_EQ(run("toy --version").code, 0);
  expectError("toy frob", "unknown command 'frob'; see --help");
  expectError("toy embed x", "unknown command 'embed'; see --help");
  expectError("toy run --frob", "unknown option '--frob'; see run --help");
  expectError("toy run --input", "--input needs a value: NAME=FILE");
  expectError("toy bench --threads x",
              "--threads is 'x', expected a whole number from 1");
}

TEST_F(ToyTest, Info) {
  Ran ran = run("toy info");
  EXPECT_EQ(ran.code, 0);
  EXPECT_TRUE(contains(ran.out, "x  float32 [batch, 16]")) << ran.out;
  EXPECT_TRUE(contains(ran.out, "batch from 1 to 64")) << ran.out;
  ran = run("toy info --json --verify --quiet");
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.error, "");
  EXPECT_TRUE(contains(ran.out, "\"verified\":true"));
  EXPECT_TRUE(contains(ran.out, "\"metadata\":{\"source\":\"by hand\"}"));
}

TEST_F(ToyTest, VerifySeesDamage) {
  // The first weight, -0.75, occurs in the file with the one after it.
  std::string program = readText(TOY_PROGRAMS "/toy");
  float weights[3] = {toy::weight(0, 0), toy::weight(0, 1), toy::weight(0, 2)};
  size_t at = program.find(
      std::string(reinterpret_cast<char *>(weights), sizeof(weights)));
  ASSERT_NE(at, std::string::npos);
  program[at] ^= 1;
  std::ofstream(path("damaged"), std::ios::binary) << program;
  std::filesystem::permissions(path("damaged"), std::filesystem::perms(0700));
  std::string line =
      path("damaged") + " info --verify >/dev/null 2>" + path("err");
  EXPECT_EQ(WEXITSTATUS(system(line.c_str())), 1);
  EXPECT_TRUE(contains(readText(path("err")), "the weights are damaged"));
}

TEST_F(ToyTest, UnsupportedCpu) {
  for (const char *command : {"info", "bench", "run --input x.npy"}) {
    Ran ran = run(std::string("toy_unsupported ") + command);
    EXPECT_EQ(ran.code, 1);
    EXPECT_EQ(ran.out, "");
    EXPECT_TRUE(contains(ran.error, "this CPU lacks")) << ran.error;
    EXPECT_EQ(std::count(ran.error.begin(), ran.error.end(), '\n'), 1);
  }
  EXPECT_EQ(run("toy_unsupported --help").code, 0);
}

TEST_F(ToyTest, RunGivesTheSameBytesForAnyThreadCount) {
  writeInput("x.npy", 37);
  std::string first;
  for (const char *threads : {"1", "2", "3", "7", "2 --guard"}) {
    Ran ran = run("toy run --input x=" + path("x.npy") + " --output " +
                  path("y.npz") + " --threads " + threads);
    ASSERT_EQ(ran.code, 0) << ran.error;
    EXPECT_EQ(ran.out, "");
    std::string bytes = readText(path("y.npz"));
    EXPECT_FALSE(bytes.empty());
    if (first.empty())
      first = bytes;
    EXPECT_EQ(bytes, first) << threads;
  }
  auto members = readNpz(path("y.npz"));
  ASSERT_EQ(members.size(), 2u);
  std::vector<float> x = valuesOf<float>(readText(path("x.npy")));
  std::vector<float> y = valuesOf<float>(members["y.npy"]);
  ASSERT_EQ(y.size(), size_t(37 * toy::kOut));
  for (int64_t b = 0; b < 37; ++b)
    for (int64_t j = 0; j < toy::kOut; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < toy::kIn; ++k)
        sum += x[size_t(b * toy::kIn + k)] * toy::weight(k, j);
      EXPECT_EQ(y[size_t(b * toy::kOut + j)], 2 * std::max(sum, 0.0f));
    }
  EXPECT_EQ(valuesOf<int64_t>(members["best.npy"]).size(), 37u);
}

TEST_F(ToyTest, RunTakesArchivesAndBareFiles) {
  writeInput("x.npy", 2);
  Ran expected = run("toy run --json --input " + path("x.npy") + " --output " +
                     path("a.npz"));
  ASSERT_EQ(expected.code, 0) << expected.error;
  EXPECT_TRUE(contains(expected.out, "{\"outputs\":[{\"name\":\"y\","
                                     "\"dtype\":\"float32\",\"shape\":[2,8]}"))
      << expected.out;
  // An archive that names its array after the input.
  std::string npy = readText(path("x.npy"));
  NpyView view;
  Message error;
  ASSERT_TRUE(parseNpy({npy.data(), npy.size()}, view, error));
  {
    OutputFile file;
    ZipWriter archive(file);
    ASSERT_TRUE(file.open(path("x.npz").c_str(), error) &&
                archive.add("x", view.tensor, error) && archive.finish(error) &&
                file.commit(error));
  }
  ASSERT_EQ(
      run("toy run --input=" + path("x.npz") + " --output " + path("b.npz"))
          .code,
      0);
  EXPECT_EQ(readText(path("a.npz")), readText(path("b.npz")));
  Ran printed = run("toy run --input " + path("x.npz"));
  EXPECT_TRUE(contains(printed.out, "y float32 2x8: ")) << printed.out;
  EXPECT_TRUE(contains(printed.out, "best int64 2: ")) << printed.out;
}

TEST_F(ToyTest, ProbeWritesTheNamedValues) {
  writeInput("x.npy", 4);
  ASSERT_EQ(run("toy run --input " + path("x.npy") + " --output " +
                path("y.npz") + " --probe " + path("values.npz"))
                .code,
            0);
  auto values = readNpz(path("values.npz"));
  auto outputs = readNpz(path("y.npz"));
  ASSERT_EQ(values.size(), 2u);
  std::vector<float> relu = valuesOf<float>(values["relu.npy"]);
  std::vector<float> hidden = valuesOf<float>(values["hidden.npy"]);
  std::vector<float> y = valuesOf<float>(outputs["y.npy"]);
  ASSERT_EQ(relu.size(), y.size());
  for (size_t i = 0; i < y.size(); ++i) {
    EXPECT_EQ(2 * relu[i], y[i]);
    EXPECT_EQ(std::max(hidden[i], 0.0f), relu[i]);
  }
}

TEST_F(ToyTest, RunNamesWhatIsWrong) {
  writeInput("x.npy", 2);
  writeInput("large.npy", 65);
  writeNpy<double>("f64.npy", PARE_F64, {1, 1}, {0});
  writeNpy<float>("flat.npy", PARE_F32, {2}, {0, 0});
  std::ofstream(path("cut.npy")) << readText(path("x.npy")).substr(0, 150);
  std::ofstream(path("text.npy")) << "hello";
  std::string in = "toy run --output " + path("y.npz") + " --input ";
  expectError("toy run --output " + path("y.npz"),
              "input 'x' is missing; the inputs are x (float32 [batch, 16])");
  expectError(in + "z=" + path("x.npy"),
              "no input is called 'z'; the inputs are x (float32 [batch, 16])");
  expectError(in + path("none.npy"),
              "cannot read '" + path("none.npy") + "': no such file or folder");
  expectError(in + path("f64.npy"), "input 'x': '" + path("f64.npy") +
                                        "' holds float64, expected float32");
  expectError(in + path("flat.npy"),
              "input 'x': '" + path("flat.npy") + "' has 1 axes, expected 2");
  expectError(in + path("cut.npy"),
              "'" + path("cut.npy") +
                  "' is cut short: 22 bytes of data, its shape needs 128");
  expectError(in + path("text.npy"),
              "'" + path("text.npy") + "' is not a .npy file");
  expectError(in + path("large.npy"),
              "input 'x': axis 0 ('batch') is 65, the model was compiled for 1 "
              "to 64");
  expectError(in + "x=" + path("x.npy") + " --input x=" + path("x.npy"),
              "input 'x' is given twice");
  expectError(in + TOY_DATA "/stored.npz",
              "'" TOY_DATA "/stored.npz' holds 'ids', which is no input; the "
              "inputs are x (float32 [batch, 16])");
  expectError(in + TOY_DATA "/rgb.png",
              "input 'x' takes .npy or .npz; to give it pictures, compile the "
              "model with --image");
  expectError(
      "toy run --input " + path("x.npy") + " --output " + path("no/y.npz"),
      "cannot write '" + path("no/y.npz") + "': no such file or folder");
  expectError("toy run --input " + path("x.npy") + " --output /dev/full",
              "cannot write '/dev/full': no space left on the device");
  expectError("toy run --input " + path("x.npy") + " --output " + path("y.npy"),
              "the model has 2 outputs: write them to a .npz");
  // Nothing but what this test has written.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder),
                          std::filesystem::directory_iterator()),
            6);
}

TEST_F(ToyTest, StandardOutputFull) {
  std::string line = TOY_PROGRAMS "/toy info >/dev/full 2>" + path("err");
  EXPECT_EQ(WEXITSTATUS(system(line.c_str())), 1);
  EXPECT_EQ(readText(path("err")), "toy: error: cannot write to standard "
                                   "output: no space left on the device\n");
}

TEST_F(ToyTest, Bench) {
  Ran ran = run("toy bench --runs 20 --threads 2 --shape x=7x16 --profile "
                "--guard");
  EXPECT_EQ(ran.code, 0) << ran.error;
  for (const char *part : {"x 7x16", "threads    2", "runs       20", "p50",
                           "peak RSS", "matmul, hidden"})
    EXPECT_TRUE(contains(ran.out, part)) << part << '\n' << ran.out;
  ran = run("toy bench --runs 3 --shape 5x16 --profile --json");
  EXPECT_EQ(ran.code, 0) << ran.error;
  EXPECT_TRUE(contains(ran.out, "\"shape\":[5,16]")) << ran.out;
  EXPECT_TRUE(contains(ran.out, "\"runs\":3")) << ran.out;
  EXPECT_TRUE(contains(ran.out, "\"flops\":1280")) << ran.out;
  expectError("toy bench --shape z=1x16",
              "--shape z=1x16: no such input; the inputs are x (float32 "
              "[batch, 16])");
  for (const char *shape : {"1x15", "1", "1x16x1", "ax16", ""})
    expectError(std::string("toy bench --shape x=") + shape,
                std::string("--shape x=") + shape + ": 'x' takes [batch, 16]");
  expectError("toy bench --shape 65x16",
              "--shape: 'batch' is 65, the model was compiled for 1 to 64");
}

TEST_F(ToyTest, PicturesAreResizedAndNormalised) {
  Ran ran = run("toy_image run --input picture=" TOY_DATA "/rgb.png --output " +
                path("y.npz"));
  ASSERT_EQ(ran.code, 0) << ran.error;
  std::vector<float> y = valuesOf<float>(readNpz(path("y.npz"))["planes.npy"]);
  ASSERT_EQ(y.size(), 3u * 4 * 6);
  // rgb.png, 3 x 2, in BGR as the model wants it.
  const float pixels[2][3][3] = {{{0, 0, 255}, {0, 255, 0}, {255, 0, 0}},
                                 {{30, 20, 10}, {60, 50, 40}, {90, 80, 70}}};
  const float mean[] = {0.5f, 0.25f, 0}, deviation[] = {0.5f, 1, 2};
  for (int c = 0; c < 3; ++c)
    for (int row = 0; row < 4; ++row)
      for (int column = 0; column < 6; ++column) {
        double v = std::min(std::max((row + 0.5) / 2 - 0.5, 0.0), 1.0);
        double u = std::min(std::max((column + 0.5) / 2 - 0.5, 0.0), 2.0);
        int left = std::min(int(u), 1);
        double fy = v, fx = u - left;
        double value =
            (1 - fy) *
                ((1 - fx) * pixels[0][left][c] + fx * pixels[0][left + 1][c]) +
            fy * ((1 - fx) * pixels[1][left][c] + fx * pixels[1][left + 1][c]);
        EXPECT_NEAR(y[size_t((c * 4 + row) * 6 + column)],
                    (value / 255 - mean[c]) / deviation[c], 1e-6)
            << c << ' ' << row << ' ' << column;
      }
  EXPECT_TRUE(contains(run("toy_image info").out,
                       "picture: PNG or JPEG, 6x4 bgr nchw"));
}

TEST_F(ToyTest, DamagedPictures) {
  std::string file = readText(TOY_DATA "/rgb.png");
  for (size_t size = 8; size < file.size() - 12; ++size) {
    std::ofstream(path("cut.png"), std::ios::binary) << file.substr(0, size);
    Ran ran = run("toy_image run --input " + path("cut.png"));
    EXPECT_EQ(ran.code, 1) << size;
    EXPECT_TRUE(contains(ran.error, "' is a damaged picture: ")) << ran.error;
  }
  // 60000 x 60000 pixels in a header.
  file[16] = file[17] = file[20] = file[21] = 0;
  file[18] = file[22] = char(60000 >> 8);
  file[19] = file[23] = char(60000 & 255);
  std::ofstream(path("huge.png"), std::ios::binary) << file;
  Ran ran = run("toy_image run --input " + path("huge.png"));
  EXPECT_EQ(ran.code, 1);
}

TEST_F(ToyTest, EmbedArguments) {
  // Means of the bytes and of the positions; six tokens at most.
  Ran ran = run("toy_encoder embed ab abcd 'a\"b' aaaaaaaaaa a");
  EXPECT_EQ(ran.code, 0) << ran.error;
  EXPECT_EQ(ran.out, "{\"text\":\"ab\",\"embedding\":[97.5,0.5]}\n"
                     "{\"text\":\"abcd\",\"embedding\":[98.5,1.5]}\n"
                     "{\"text\":\"a\\\"b\",\"embedding\":[76.333336,1]}\n"
                     "{\"text\":\"aaaaaaaaaa\",\"embedding\":[97,2.5]}\n"
                     "{\"text\":\"a\",\"embedding\":[97,0]}\n");
  EXPECT_EQ(ran.error, "toy_encoder: 1 text was cut to 6 tokens\n");
  EXPECT_EQ(run("toy_encoder embed --guard --threads 3 ab abcd 'a\"b' "
                "aaaaaaaaaa a --quiet")
                .out,
            ran.out);
}

TEST_F(ToyTest, EmbedStandardInput) {
  std::ofstream(path("lines")) << "ab\r\n\nabcd\na";
  Ran ran = run("toy_encoder embed <" + path("lines"));
  EXPECT_EQ(ran.code, 0) << ran.error;
  EXPECT_EQ(ran.out, "{\"text\":\"ab\",\"embedding\":[97.5,0.5]}\n"
                     "{\"text\":\"\",\"embedding\":[0,0]}\n"
                     "{\"text\":\"abcd\",\"embedding\":[98.5,1.5]}\n"
                     "{\"text\":\"a\",\"embedding\":[97,0]}\n");
  ran =
      run("toy_encoder embed --output " + path("e.npy") + " <" + path("lines"));
  EXPECT_EQ(ran.code, 0) << ran.error;
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(valuesOf<float>(readText(path("e.npy"))),
            (std::vector<float>{97.5f, 0.5f, 0, 0, 98.5f, 1.5f, 97, 0}));
  ran = run("toy_encoder embed </dev/null");
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, "");
}

TEST_F(ToyTest, EmbedManyLines) {
  std::string lines, expected;
  for (int i = 0; i < 30000; ++i) {
    std::string line(size_t(1 + i % 5), char('a' + i % 26));
    lines += line + "\n";
    expected += "{\"text\":\"" + line + "\",\"embedding\":[" +
                std::to_string('a' + i % 26) + "," +
                (i % 5 % 2 ? std::to_string(i % 5 / 2) + ".5"
                           : std::to_string(i % 5 / 2)) +
                "]}\n";
  }
  std::ofstream(path("lines")) << lines;
  Ran ran = run("toy_encoder embed <" + path("lines"));
  EXPECT_EQ(ran.code, 0) << ran.error;
  EXPECT_TRUE(ran.out == expected);
}

TEST_F(ToyTest, Sizes) {
  auto size = [](const char *program) {
    return std::filesystem::file_size(std::string(TOY_PROGRAMS "/") + program);
  };
  EXPECT_LE(size("toy"), 100u << 10);
  EXPECT_LE(size("toy_encoder"), 110u << 10);
  EXPECT_LE(size("toy_image"), 160u << 10);
  EXPECT_LE(size("toy_glibc"), 900u << 10);
  // Pictures are linked in only where the model asks for them.
  EXPECT_GT(size("toy_image"), size("toy") + 20000);
}

// The runtime does the same over the system's C library.
TEST_F(ToyTest, Glibc) {
  writeInput("x.npy", 11);
  std::string bytes[2];
  for (int i = 0; i < 2; ++i) {
    Ran ran = run(std::string(i ? "toy_glibc" : "toy") + " run --threads 3 " +
                  path("x.npy") + " --output " + path("y.npz") + " --input " +
                  path("x.npy"));
    EXPECT_EQ(ran.code, 1); // a stray argument
    ran = run(std::string(i ? "toy_glibc" : "toy") + " run --threads 3" +
              " --output " + path("y.npz") + " --input " + path("x.npy"));
    EXPECT_EQ(ran.code, 0) << ran.error;
    bytes[i] = readText(path("y.npz"));
  }
  EXPECT_FALSE(bytes[0].empty());
  EXPECT_EQ(bytes[0], bytes[1]);
  EXPECT_EQ(run("toy_glibc info").out, run("toy info").out);
  EXPECT_EQ(run("toy_glibc bench --runs 5 --guard").code, 0);
}
