resource "aws_ecr_repository" "app" {
  name                 = "acme/app"
  image_tag_mutability = "IMMUTABLE"
}

# A pattern of actions, and everybody, in literal JSON; a Deny may name everybody.
resource "aws_ecr_repository_policy" "app" {
  repository = aws_ecr_repository.app.name
  # want below: action "ecr:*" is a pattern: name each action | principal "*" of AWS is a pattern: name each | principal * is everybody
  policy = <<-J
    {
      "Version": "2012-10-17",
      "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"},
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["ecr:*"]},
        {"Effect": "Deny", "Principal": "*", "Action": "ecr:*"}
      ]
    }
  J
}

resource "aws_iam_role_policy" "push" {
  name = "push"
  role = "release"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = "*", Resource = "*" },                        # want: action "*" is a pattern: name each action
      { Effect = "Allow", NotAction = "ecr:DeleteRepository", Resource = "*" },  # want: an Allow with NotAction allows every action but those
      { Effect = var.effect, Action = "ecr:BatchGetImage", Resource = "*" },     # want: the effect of a statement cannot be read: write Allow or Deny
    ]
  })
}

variable "effect" {
  description = "Allow or Deny."
  type        = string
  validation {
    condition     = contains(["Allow", "Deny"], var.effect)
    error_message = "effect: Allow or Deny."
  }
}
