locals {
  github   = "token.actions.githubusercontent.com"
  subjects = ["repo:acme/app:ref:refs/heads/${var.branch}"]
}

variable "branch" {
  description = "The branch."
  type        = string
  default     = "*"

  validation {
    condition     = var.branch != ""
    error_message = "branch: not empty."
  }
}

resource "aws_iam_role" "release" {
  name = "release"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{ # want: the condition on sub holds a pattern, "*": StringEquals takes it for that very text
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:aws:iam::111122223333:oidc-provider/${local.github}" }
      Condition = {
        StringEquals = {
          "${local.github}:aud"              = "sts.amazonaws.com"
          "${local.github}:sub"              = local.subjects
          "${local.github}:repository_id"    = "2002"
          "${local.github}:job_workflow_ref" = "acme/app/.github/workflows/release.yml@refs/heads/main"
        }
      }
    }]
  })
}
