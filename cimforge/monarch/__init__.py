"""What ``make paper-monarch`` measures: models by their shapes, figures beside the paper's."""
