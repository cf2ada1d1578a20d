variable "trust" {
  description = "A trust policy from elsewhere."
  type        = string
  validation {
    condition     = can(jsondecode(var.trust))
    error_message = "trust: JSON."
  }
}

resource "aws_iam_role" "release" {
  name               = "release"
  assume_role_policy = var.trust # want: assume_role_policy cannot be judged: write it with jsonencode or as a policy document here
}

resource "aws_iam_role" "other" {
  name               = "other"
  assume_role_policy = file("trust.json") # want: assume_role_policy cannot be judged: write it with jsonencode or as a policy document here
}

resource "aws_iam_role" "third" {
  name               = "third"
  assume_role_policy = jsonencode({ Version = "2012-10-17" }) # want: a policy without statements
}
