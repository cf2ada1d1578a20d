locals {
  github = "token.actions.githubusercontent.com"
}

resource "aws_iam_role" "release" {
  name = "release"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{ # want: a trust policy whose condition on sub is not a certain StringEquals but StringLike: every token of the issuer is trusted
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:aws:iam::111122223333:oidc-provider/${local.github}" }
      Condition = {
        StringEquals = {
          "${local.github}:aud"              = "sts.amazonaws.com"
          "${local.github}:repository_id"    = "2002"
          "${local.github}:job_workflow_ref" = "acme/app/.github/workflows/release.yml@refs/heads/main"
        }
        StringLike = { "${local.github}:sub" = "repo:acme/app:*" }
      }
    }]
  })
}
