// Scores the rows of a CSV file with a TorchScript file of `jaxrep export`: score MODEL.pt ROWS.csv
// The columns are those that the run was trained on, in its order: numbers, a category as its code,
// an empty cell for a missing value.
#include <torch/script.h>

#include <cmath>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <sstream>

std::vector<double> numbers(const std::string& line, const std::string& place) {
  std::vector<double> row;
  std::istringstream cells(line + ",");
  for (std::string cell; std::getline(cells, cell, ',');) {
    size_t end = 0;
    try {
      row.push_back(cell.empty() ? std::nan("") : std::stod(cell, &end));
    } catch (const std::exception&) {  // told apart below: nothing was read
    }
    if (end != cell.size()) throw std::runtime_error(place + ": '" + cell + "' is not a number");
  }
  return row;
}

torch::Tensor read(const std::string& path, size_t columns) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  std::vector<double> values;
  size_t line_number = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (++line_number == 1) continue;  // the header
    if (line.empty() && columns > 1) continue;  // of one column it is a row, with a missing value
    const std::string place = path + ", line " + std::to_string(line_number);
    const std::vector<double> row = numbers(line, place);
    if (row.size() != columns)
      throw std::runtime_error(place + ": has " + std::to_string(row.size()) +
                               " columns, and the model takes " + std::to_string(columns));
    values.insert(values.end(), row.begin(), row.end());
  }
  const auto count = static_cast<int64_t>(values.size() / columns);
  return torch::tensor(values, torch::kDouble).reshape({count, static_cast<int64_t>(columns)});
}

torch::jit::Module load(const std::string& path) {
  try {
    torch::jit::Module model = torch::jit::load(path);
    if (model.find_method("score") && model.hasattr("rows")) return model;
  } catch (const c10::Error&) {  // says much, and nothing that the name does not say shorter
  }
  throw std::runtime_error(path + ": not a TorchScript file of jaxrep's");
}

int main(int count, char** arguments) try {
  if (count != 3) throw std::runtime_error("usage: score MODEL.pt ROWS.csv");
  torch::jit::Module model = load(arguments[1]);
  const auto columns = model.attr("rows").toModule().attr("width").toInt();
  const torch::Tensor rows = read(arguments[2], static_cast<size_t>(columns));
  torch::InferenceMode no_gradients;
  const torch::Tensor scores = model.get_method("score")({rows}).toTensor();
  std::cout << "score\n" << std::setprecision(9);
  for (int64_t i = 0; i < scores.size(0); ++i) std::cout << scores[i].item<float>() << '\n';
} catch (const std::exception& error) {
  const std::string text = error.what();  // of a TorchScript error the last line is the message
  const size_t end = text.find_last_not_of('\n');
  const size_t start = text.find_last_of('\n', end);
  std::cerr << text.substr(start == std::string::npos ? 0 : start + 1, end - start) << '\n';
  return 1;
}
