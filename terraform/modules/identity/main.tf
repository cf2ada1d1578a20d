# Who may push, and who may read.
#
# The trust policies are written out here and not made by a module: they are the lock of the whole chain, and each word
# of them should be seen. Every condition is StringEquals, which is false for a claim that is absent. ForAllValues is true
# for one, so it has no place in an Allow.

locals {
  github = "token.actions.githubusercontent.com"
  # Written rather than taken from the provider, so that the trust policies are whole in the plan that is reviewed.
  provider = coalesce(var.github_provider_arn, "arn:${data.aws_partition.this.partition}:iam::${data.aws_caller_identity.this.account_id}:oidc-provider/${local.github}")

  # sub has two forms. Repositories made, renamed or moved since July 2026 have the numbers in it; older ones may not yet.
  # Both name the same repository, and repository_id below holds for either.
  claim = { for k, r in var.releases : k => r.environment != null ? "environment:${r.environment}" : "ref:${r.ref}" }
  subjects = { for k, r in var.releases : k => [
    "repo:${r.owner}/${r.repository}:${local.claim[k]}",
    "repo:${r.owner}@${r.owner_id}/${r.repository}@${r.repository_id}:${local.claim[k]}",
  ] }
}

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.github_provider_arn == null ? 1 : 0

  url            = "https://${local.github}"
  client_id_list = ["sts.amazonaws.com"]
  tags           = var.tags
}

resource "aws_iam_role" "release" {
  for_each = var.releases

  name                 = "${var.prefix}-release-${each.key}"
  description          = "Pushes ${each.value.owner}/${each.value.repository} to its one repository"
  max_session_duration = 3600
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = local.provider }
      Condition = {
        StringEquals = {
          "${local.github}:aud"              = "sts.amazonaws.com"
          "${local.github}:sub"              = local.subjects[each.key]
          "${local.github}:repository_id"    = tostring(each.value.repository_id)
          "${local.github}:job_workflow_ref" = each.value.workflow
        }
      }
    }]
  })

  depends_on = [aws_iam_openid_connect_provider.github]
}

resource "aws_iam_role_policy" "push" {
  for_each = var.releases

  name = "push"
  role = aws_iam_role.release[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "LogIn"
        Effect = "Allow"
        Action = "ecr:GetAuthorizationToken"
        # ECR knows no resource for this one.
        Resource = "*"
      },
      {
        Sid    = "PushToOneRepository"
        Effect = "Allow"
        # Nothing deletes. Referrers are read by BatchGetImage.
        Action = [
          "ecr:BatchCheckLayerAvailability",
          "ecr:BatchGetImage",
          "ecr:CompleteLayerUpload",
          "ecr:DescribeImages",
          "ecr:DescribeRepositories",
          "ecr:GetDownloadUrlForLayer",
          "ecr:InitiateLayerUpload",
          "ecr:PutImage",
          "ecr:UploadLayerPart",
        ]
        Resource = each.value.ecr_repository_arn
      },
    ]
  })
}

locals {
  readers = var.cluster == null ? {} : { for name, r in var.readers : name => r }
}

# With an IMDS hop limit of one, a pod cannot borrow the node's role, so the two that read images have roles of their own.
resource "aws_iam_role" "reader" {
  for_each = local.readers

  name        = "${var.prefix}-${each.key}-reader"
  description = "${each.key} in ${var.cluster.name} reads images and evidence"
  tags        = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Principal = { Service = "pods.eks.amazonaws.com" }
      # The association below says who gets the role; these say it again where another association cannot change it.
      Condition = {
        StringEquals = {
          "aws:RequestTag/eks-cluster-arn"            = var.cluster.arn
          "aws:RequestTag/kubernetes-namespace"       = each.value.namespace
          "aws:RequestTag/kubernetes-service-account" = each.value.service_accounts
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "read" {
  for_each = local.readers

  name = "read"
  role = aws_iam_role.reader[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "LogIn"
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*"
      },
      {
        Sid    = "ReadImagesAndEvidence"
        Effect = "Allow"
        Action = [
          "ecr:BatchCheckLayerAvailability",
          "ecr:BatchGetImage",
          "ecr:GetDownloadUrlForLayer",
        ]
        Resource = var.readable_repository_arns
      },
    ]
  })
}

resource "aws_eks_pod_identity_association" "reader" {
  for_each = merge([for name, r in local.readers : { for s in r.service_accounts : "${r.namespace}/${s}" => { role = name, namespace = r.namespace, service_account = s } }]...)

  cluster_name    = var.cluster.name
  namespace       = each.value.namespace
  service_account = each.value.service_account
  role_arn        = aws_iam_role.reader[each.value.role].arn
  tags            = var.tags
}

check "workflows_are_pinned_by_commit" {
  assert {
    condition     = alltrue([for r in values(var.releases) : can(regex("@[0-9a-f]{40}$", r.workflow))])
    error_message = "WEAKER THAN IT COULD BE: a workflow is trusted by branch or tag, so whoever can move that in its repository can push. Pin it by commit, here and after the @ of uses:."
  }
}
